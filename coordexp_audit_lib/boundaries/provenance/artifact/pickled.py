"""Read what a pickle of plain settings holds, without running any of it.

`training_args.bin` of a Hugging Face trainer is a zip archive with one pickle: an object of a class with a dictionary
of attributes. Its opcodes are walked on a small stack machine that knows literals and containers. A class, a function
or a call stays a name with its arguments: nothing is imported, called or built.
"""

from __future__ import annotations

import pickletools
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import msgspec

BIN = ".bin"
MAX_PICKLE = 16 << 20
MAX_OPCODES = 1_000_000
MAX_VALUES = 200_000
MAX_DEPTH = 32


class Name(msgspec.Struct, frozen=True):
    """A class or function that a pickle names."""

    module: str
    name: str


class Call(msgspec.Struct):
    """What a pickle would make of a class or function: with which arguments, and with which attributes."""

    of: Any
    arguments: Any
    state: Any = None


class _Mark:
    pass


def settings_of(file: BinaryIO) -> dict[str, Any]:
    """The attributes of the object that a pickle holds, as builtins: members of enumerations by their value, other
    objects by the name of their class and its arguments.

    Raises:
        ValueError: it is no such pickle, or too large; the message is one line.
    """
    value = plain(_value(file))
    if not isinstance(value, dict):
        raise ValueError("it holds no settings")
    return value


def strings_in(file: BinaryIO) -> list[str]:
    """The texts that a pickle holds, each setting as `name: value`.

    Raises:
        ValueError: as `settings_of`.
    """
    return list(_texts(plain(_value(file)), ""))


def _texts(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _texts(below, str(key))
    elif isinstance(value, list):
        for below in value:
            yield from _texts(below, name)
    elif isinstance(value, str):
        yield f"{name}: {value}" if name else value


def _value(file: BinaryIO) -> Any:
    return walked(_pickle(file))


def _pickle(file: BinaryIO) -> bytes:
    try:
        with zipfile.ZipFile(file) as archive:
            inner = next((i for i in archive.infolist() if i.filename.endswith("data.pkl")), None)
            if inner is None:
                raise ValueError("it holds no pickle")
            if inner.file_size > MAX_PICKLE:
                raise ValueError(f"its pickle has {inner.file_size} bytes, more than {MAX_PICKLE}")
            with archive.open(inner) as opened:
                raw = opened.read(MAX_PICKLE + 1)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"it is no archive of PyTorch: {' '.join(str(error).split())[:120]}") from error
    if len(raw) > MAX_PICKLE:
        raise ValueError(f"its pickle has more than {MAX_PICKLE} bytes")
    return raw


def walked(raw: bytes) -> Any:
    """The value of a pickle, calls left as calls.

    Raises:
        ValueError: it is damaged, or does what no pickle of settings does.
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(raw)):
            if count > MAX_OPCODES:
                raise ValueError(f"its pickle has more than {MAX_OPCODES} opcodes")
            if opcode.name == "STOP":
                return machine.pop()
            machine.step(opcode.name, argument)
    except (LookupError, TypeError, RecursionError, OverflowError, MemoryError) as error:
        raise ValueError(f"its pickle is damaged ({type(error).__name__})") from error
    raise ValueError("its pickle has no end")


class _Machine:
    """The stack and the memo of an unpickler that makes nothing."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def pop(self) -> Any:
        return self.stack.pop()

    def since_mark(self) -> list[Any]:
        found = []
        while not isinstance(one := self.stack.pop(), _Mark):
            found.append(one)
        return found[::-1]

    def step(self, name: str, argument: Any) -> None:
        if name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _LITERALS:
            self.stack.append(argument)
        elif name in _STEPS:
            _STEPS[name](self, argument)
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"its pickle uses {name}, which no settings need")


def _pushed(make: Callable[[_Machine], Any]) -> Callable[[_Machine, Any], None]:
    return lambda m, _: m.stack.append(make(m))


def _remember(m: _Machine, argument: Any) -> None:
    m.memo[len(m.memo) if argument is None else argument] = m.stack[-1]


def _set_items(m: _Machine, items: list[Any]) -> None:
    target = m.stack[-1]
    pairs = zip(items[::2], items[1::2], strict=True)
    if isinstance(target, dict):
        target.update({_key(k): v for k, v in pairs})


def _append(m: _Machine, items: list[Any]) -> None:
    target = m.stack[-1]
    if isinstance(target, list):
        target.extend(items)


def _mapped(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(map(_key, items[::2]), items[1::2], strict=True))


def _key(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool, bytes, type(None))) else str(value)[:200]


def _build(m: _Machine, _: Any) -> None:
    state = m.pop()
    if isinstance(m.stack[-1], Call):
        m.stack[-1].state = state


def _called(m: _Machine) -> Call:
    arguments = m.pop()
    return Call(m.pop(), arguments)


def _named(m: _Machine) -> Name:
    name, module = m.pop(), m.pop()
    return Name(str(module), str(name))


def _paired(m: _Machine) -> list[Any]:
    value, key = m.pop(), m.pop()
    return [key, value]


def _global(m: _Machine, argument: Any) -> None:
    module, _, name = str(argument).partition(" ")
    m.stack.append(Name(module, name))


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = frozenset(
    {"BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG", "BINFLOAT", "FLOAT"}
    | {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"}
    | {"BINSTRING", "SHORT_BINSTRING", "STRING", "BYTEARRAY8"}
)
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": lambda m, _: m.stack.append(_Mark()),
    "POP": lambda m, _: m.stack.__delitem__(-1),
    "POP_MARK": lambda m, _: m.since_mark().clear(),
    "DUP": lambda m, _: m.stack.append(m.stack[-1]),
    "EMPTY_DICT": lambda m, _: m.stack.append({}),
    "EMPTY_LIST": lambda m, _: m.stack.append([]),
    "EMPTY_TUPLE": lambda m, _: m.stack.append([]),
    "EMPTY_SET": lambda m, _: m.stack.append([]),
    "LIST": _pushed(lambda m: m.since_mark()),
    "TUPLE": _pushed(lambda m: m.since_mark()),
    "FROZENSET": _pushed(lambda m: m.since_mark()),
    "TUPLE1": _pushed(lambda m: [m.pop()]),
    "TUPLE2": _pushed(lambda m: [m.pop(), m.pop()][::-1]),
    "TUPLE3": _pushed(lambda m: [m.pop(), m.pop(), m.pop()][::-1]),
    "DICT": _pushed(lambda m: _mapped(m.since_mark())),
    "SETITEM": lambda m, _: _set_items(m, _paired(m)),
    "SETITEMS": lambda m, _: _set_items(m, m.since_mark()),
    "APPEND": lambda m, _: _append(m, [m.pop()]),
    "APPENDS": lambda m, _: _append(m, m.since_mark()),
    "ADDITEMS": lambda m, _: _append(m, m.since_mark()),
    "PUT": _remember,
    "BINPUT": _remember,
    "LONG_BINPUT": _remember,
    "MEMOIZE": _remember,
    "GET": lambda m, number: m.stack.append(m.memo[number]),
    "BINGET": lambda m, number: m.stack.append(m.memo[number]),
    "LONG_BINGET": lambda m, number: m.stack.append(m.memo[number]),
    "GLOBAL": _global,
    "STACK_GLOBAL": _pushed(_named),
    "REDUCE": _pushed(_called),
    "NEWOBJ": _pushed(_called),
    "NEWOBJ_EX": _pushed(lambda m: (m.pop(), _called(m))[1]),
    "BUILD": _build,
    "BINPERSID": _pushed(lambda m: Call(Name("", "persistent"), [m.pop()])),
}


def plain(value: Any) -> Any:
    """What was read as builtins that JSON has; an enumeration's member is its value, any other object its name.

    Raises:
        ValueError: it unfolds to more than `MAX_VALUES` values.
    """
    return _Plain().of(value, 0)


class _Plain:
    """One unfolding: what a pickle shares can unfold to more than there is room for."""

    def __init__(self) -> None:
        self.left = MAX_VALUES

    def of(self, value: Any, depth: int) -> Any:
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"its pickle unfolds to more than {MAX_VALUES} values")
        if depth > MAX_DEPTH:
            return "…"
        if isinstance(value, Call):
            return self._call(value, depth)
        if isinstance(value, Name):
            return f"{value.module}.{value.name}"
        if isinstance(value, dict):
            return {str(k): self.of(v, depth + 1) for k, v in value.items()}
        if isinstance(value, list):
            return [self.of(v, depth + 1) for v in value]
        return value[:4096].decode("utf-8", "replace") if isinstance(value, (bytes, bytearray)) else value

    def _call(self, value: Call, depth: int) -> Any:
        state = value.state[0] if isinstance(value.state, list) and value.state else value.state
        if isinstance(state, dict):
            return self.of(state, depth + 1)
        arguments = value.arguments if isinstance(value.arguments, list) else []
        match (value.of, arguments):
            case (Name(module="builtins", name="getattr"), [Name(), str(member)]):
                return member.lower()
            case (Name(module=module, name=name), [str() | int() | float() as member]) if name[
                :1
            ].isupper() and not module.startswith("torch"):
                return member
        return f"{self.of(value.of, depth + 1)}({', '.join(str(self.of(a, depth + 1)) for a in arguments)})"
