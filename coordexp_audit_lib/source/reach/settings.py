"""What a resolved config says about the names that code reads it by.

Code does not say `config["custom"]["coord_offset"]["enabled"]`; it says `coord_offset_cfg.enabled`,
`getattr(custom_config, "coord_offset", None)` or `training.get("packing", False)`. A chain of such names is read from
the last name in it that is known to hold the config or a part of it. Where a chain has none, nothing is known.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from coordexp_audit_lib.kit.nested import lookup
from coordexp_audit_lib.source.names import last_name
from coordexp_audit_lib.source.reach.bindings import every
from coordexp_audit_lib.source.reach.program import Node, Program
from coordexp_audit_lib.source.tree import text_of

SETTERS = re.compile(
    r"^(update|replace|_replace|setattr|delattr|pop)$|^_*set(default)?_|set(default)?$"
)  # by their names
OF_MAPPINGS = ("update", "pop", "setdefault")
Keys = tuple[str, ...]


class Unknown:
    """What is not known before the code runs."""

    def __repr__(self) -> str:
        return "unknown"


UNKNOWN = Unknown()


class Known(msgspec.Struct, frozen=True):
    """A value that is known. why: the dotted path of the config, and how it stands there, empty for a plain literal."""

    value: Any
    why: str = ""


Value = Known | Unknown


class Thing(msgspec.Struct, frozen=True):
    """Stands for an object that is there, is true, and is not None, whatever else it may be."""

    path: str


class Written(msgspec.Struct, frozen=True):
    """Names that code writes to: of attributes of objects, and of keys of mappings."""

    attributes: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()

    def __contains__(self, name: str) -> bool:
        return name in self.attributes or name in self.keys


NOTHING = Written()


class Switch(msgspec.Struct, frozen=True):
    """A name that means one key of the config wherever it stands. missing: its value where the config has none."""

    path: str
    missing: Any = None


class Settings:
    """One config.

    merged: the config after its parents. defaults: by dotted path, what the schema fills in (`schema_defaults`).
    holders: names that hold a part of the config wherever they stand, with its dotted path, "" for the whole. written:
    last names that code outside the schema assigns to, whose values in the config may therefore not be those at run
    time. A key that is written to some mapping leaves the field of a typed object as it is.
    """

    def __init__(
        self,
        merged: Mapping[str, Any],
        defaults: Mapping[str, Any] = {},
        switches: Mapping[str, Switch] = {},
        holders: Mapping[str, str] = {},
        written: Written = NOTHING,
    ) -> None:
        self.merged, self.defaults, self.switches = merged, defaults, switches
        self.holders = {n: tuple(p.split(".")) if p else () for n, p in holders.items()}
        self.written = written
        self.typed = {p.rpartition(".")[0] for p in defaults}

    def of(self, chain: Keys, default: Value = UNKNOWN) -> Value:
        """The value that a chain of names stands for; default: what the code takes where a mapping has no such key."""
        switch = self.switches.get(chain[-1]) if chain else None
        if switch is not None:
            return self._switch(switch)
        path = self.path(chain) or ()
        typed = ".".join(path[:-1]) in self.typed
        if not path or chain[-1] in (self.written.attributes if typed else self.written):
            return UNKNOWN
        dotted = ".".join(path)
        there = lookup(self.merged, path, UNKNOWN)
        if there is not UNKNOWN:
            object_made = isinstance(there, Mapping) and dotted in self.typed
            if not settled(there) and typed:
                return UNKNOWN
            return Known(Thing(dotted) if object_made else there, self._said(path, there))
        if dotted in self.defaults:
            value = self.defaults[dotted]
            return value if isinstance(value, Unknown) else Known(value, self._said(path, value, True))
        free = isinstance(lookup(self.merged, path[:-1], None), Mapping) and not typed
        return (
            Known(default.value, self._said(path, default.value, True))
            if free and isinstance(default, Known)
            else UNKNOWN
        )

    def _switch(self, switch: Switch) -> Value:
        path: Keys = tuple(switch.path.split("."))
        there = lookup(self.merged, path, UNKNOWN)
        if there is UNKNOWN:
            default = self.defaults.get(switch.path, switch.missing)
            there = switch.missing if isinstance(default, Unknown) else default
            return Known(there, self._said(path, there, True))
        return Known(there, self._said(path, there)) if settled(there) else UNKNOWN

    def path(self, chain: Keys) -> Keys | None:
        """The path in the config that a chain of names means, from the last name in it that holds a part of it."""
        for n in range(len(chain) - 1, -1, -1):
            if chain[n] in self.holders:
                return (*self.holders[chain[n]], *chain[n + 1 :])
        return None

    @staticmethod
    def _said(path: Keys, value: Any, missing: bool = False) -> str:
        shown = "there" if isinstance(value, (Thing, Mapping)) else repr(value)
        return f"{'.'.join(path)} is {shown}{' by default' if missing else ''}"


def settled(value: Any) -> bool:
    """Whether a value stays as it is when a parser strips texts and makes them lower case."""
    return not isinstance(value, str) or value == value.strip().lower()


def schema_defaults(program: Program, root: Node) -> dict[str, Any]:
    """By dotted path, the defaults of a class of annotated fields and of the classes that its fields have as types.

    A literal is its value; an object that a factory makes is a `Thing`; a field without default, and one whose default
    is computed, is `UNKNOWN`, since the schema's own parser decides.
    """
    found: dict[str, Any] = {}
    _fields(program, root, (), found, frozenset())
    return found


def _fields(program: Program, node: Node, above: Keys, found: dict[str, Any], seen: frozenset[Node]) -> None:
    for one in reversed(program.order(node)):
        for d in program.defined(one):
            parsed = _parsed_defaults(d.node)
            for field in d.node.body:
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    path = (*above, field.target.id)
                    default = _default(field.value, ".".join(path))
                    inside = _classes(program, one, field.annotation)
                    agreed = isinstance(default, Thing) or all(p == default for p in parsed.get(path[-1], []))
                    filled = default is None and inside  # the parser may make one all the same
                    found[".".join(path)] = default if agreed and not filled else UNKNOWN
                    for inner in inside:
                        if inner not in seen and len(path) < 6:
                            _fields(program, inner, path, found, seen | {node})


def _parsed_defaults(node: ast.AST) -> dict[str, list[Any]]:
    """What a class's own methods take for a key that is not given: `data.pop("enabled", True)`."""
    found: dict[str, list[Any]] = {}
    for call in (n for n in ast.walk(node) if isinstance(n, ast.Call) and len(n.args) == 2):
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("get", "pop"):
            given = call.args[1]
            found.setdefault(text_of(call.args[0]) or "", []).append(
                given.value if isinstance(given, ast.Constant) else UNKNOWN
            )
    return found


def _classes(program: Program, scope: Node, annotation: ast.expr) -> list[Node]:
    names = (n for n in ast.walk(annotation) if isinstance(n, (ast.Name, ast.Attribute)))
    meanings = (m for n in names for m in program.value(Node(scope.path, ""), n))
    return [m for m in meanings if isinstance(m, Node) and program.is_class(m)]


def _default(value: ast.expr | None, path: str) -> Any:
    if isinstance(value, ast.Constant):
        return value.value
    if isinstance(value, ast.Call):
        factory = next((k.value for k in value.keywords if k.arg == "default_factory"), None)
        if isinstance(factory, ast.Name) and factory.id in ("dict", "list", "tuple", "set"):
            return {"dict": {}, "list": [], "tuple": (), "set": set()}[factory.id]
        if factory is not None:
            return Thing(path)
        given = next((k.value for k in value.keywords if k.arg == "default"), None)
        return given.value if isinstance(given, ast.Constant) else UNKNOWN
    return UNKNOWN


def written_names(program: Program, paths: list[str], left_out: tuple[str, ...] = ()) -> Written:
    """The last names of attributes and keys that code assigns to or takes away, an object's own (`self.x`) left out."""
    attributes: set[str] = set()
    keys: set[str] = set()
    for path in paths:
        module = None if path.startswith(left_out) else program.module(path)
        for node in every(module.tree) if module else ():
            if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
                own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
                attributes |= set() if own else {node.attr}
            elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
                keys.add(text_of(node.slice) or "")
            elif isinstance(node, ast.Call) and SETTERS.search(by := last_name(node.func)):
                given = [k for a in node.args if isinstance(a, ast.Dict) for k in a.keys]
                names = {text_of(k) or "" for k in [*given, *node.args]} | {k.arg or "" for k in node.keywords}
                (keys if by in OF_MAPPINGS else attributes).update(names)
    return Written(frozenset(attributes - {""}), frozenset(keys - {""}))
