"""Which text reaches which strict parser: a data-flow scan of a tree's modules, read and never imported.

Assistant text comes from a tokenizer's `decode`, from a choice's `content`, from the format's own writer, and from the
names that say so. It stays assistant text through slices, methods, joins and calls, across functions and modules,
until a transpiler turns it into strict JSON. A strict parser that can get it before is a raw sink.
The scan over-approximates calls it can't resolve, and can't see attributes that one method sets and another reads.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.source.dataflow import Flow, Summaries
from coordexp_audit_lib.source.names import Function, Module, arguments, called, parameters
from coordexp_audit_lib.source.tree import Tree

CLEAN, LITERAL, TRANSPILED, RAW = range(4)  # a text's states; of several, the worst counts
Verdict = Literal["transpiled", "not-assistant", "string-literal", "raw"]
VERDICTS: dict[int, Verdict] = {CLEAN: "not-assistant", LITERAL: "string-literal", TRANSPILED: "transpiled", RAW: "raw"}

PARSERS = {
    *("json.loads", "json.load", "json.JSONDecoder.decode", "orjson.loads", "ujson.loads", "simplejson.loads"),
    *("rapidjson.loads", "msgspec.json.decode", "msgspec.yaml.decode", "yaml.safe_load", "yaml.load", "json5.loads"),
    *("ast.literal_eval", "eval", "json_repair.loads", "json_repair.repair_json", "demjson3.decode", "hjson.loads"),
}
PARSER_METHODS = frozenset({"raw_decode", "model_validate_json", "parse_raw", "scan_once"})
FORGETTING = {  # results that are no text, or text that json itself wrote
    *(
        "len",
        "int",
        "float",
        "bool",
        "isinstance",
        "hash",
        "range",
        "json.dumps",
        "hasattr",
        "type",
        "id",
        "ord",
        "print",
    )
}
FORGETTING_METHODS = frozenset({"find", "rfind", "index", "count", "startswith", "endswith", "isdigit", "isspace"})
TOKENIZER = re.compile(r"tokenizer|processor|template|\btok\b", re.I)
ASSISTANT_NAME = re.compile(
    r"^_?(?:(?:assistant|rollout|response|pred|prediction|generated|generation|completion|model|output|model_output|decoded)"
    r"_(?:text|str|string|content)s?|raw_output(?:_text)?|assistant_output)$"
)
VAGUE_NAME = "raw_text"  # says assistant text only in a module that reads some
READER = re.compile(r"(?:parse|load|extract|salvage|read|decode).*(?:prediction|assistant|coordjson|rollout_text)")
READER_PARAMETER = re.compile(r"^(?:text|raw|content|output|string|block)$")


class ScanRequest(msgspec.Struct, frozen=True):
    """Folders to scan and folders in them to leave out, relative to the tree's root."""

    roots: tuple[str, ...] = ("src",)
    leave_out: tuple[str, ...] = ("src/analysis",)


class Sink(msgspec.Struct, frozen=True, order=True):
    """A call of a strict parser. symbol: the function that it stands in. parser: what is called.

    verdict: `transpiled` (only strict JSON text reaches it), `not-assistant` (no assistant text does),
    `string-literal` (the transpiler itself decodes a slice of its input), `raw` (assistant text reaches it).
    """

    path: str
    line: int
    symbol: str
    parser: str
    verdict: Verdict


class Scan(msgspec.Struct, frozen=True):
    """Every sink, sorted; `modules` were read."""

    sinks: list[Sink]
    modules: int


class Format(msgspec.Struct, frozen=True):
    """The functions of a pipeline's own format, by name: those that turn it into strict JSON, those that write it."""

    transpilers: frozenset[str]
    writers: frozenset[str]


def scan(tree: Tree, request: ScanRequest, spoken: Format) -> Scan:
    """Judge every strict parser call below the roots.

    Raises:
        SurfaceUnbound: no module defines a transpiler: the tree speaks another format.
    """
    program = Program({p: Module(p, tree.module(p)) for p in _owned(tree, request)}, spoken)
    if not any(program.transpiles(m) for m in program.modules.values()):
        raise SurfaceUnbound("no module defines a CoordJSON transpiler", where="coordjson.json_sinks")
    found: dict[str, list[Sink]] = {}
    while program.stale:  # states only grow and are few, so this ends
        path = min(program.stale)
        program.stale.remove(path)
        found[path] = list(program.sinks(program.modules[path]))
    return Scan(sorted(s for sinks in found.values() for s in sinks), len(program.modules))


def _owned(tree: Tree, request: ScanRequest) -> Iterator[str]:
    for path in tree.python_files:
        inside = any(not root or path.startswith(f"{root}/") for root in request.roots)
        if inside and not any(path.startswith(f"{folder}/") for folder in request.leave_out):
            yield path


def _worst(states: Iterable[int]) -> int:
    return max(states, default=CLEAN)


class Program:
    """Modules read together, and the states that calls carry between their functions.

    stale: the modules that were followed before something that they use was learnt.
    """

    def __init__(self, modules: dict[str, Module], spoken: Format) -> None:
        self.modules, self.spoken = modules, spoken
        self.stale = set(modules)
        self.known: Summaries[int] = Summaries(_worst, CLEAN)
        self._users: dict[str, set[str]] = {}

    def transpiles(self, module: Module) -> bool:
        return any(name in self.spoken.transpilers for name in module.functions)

    def sinks(self, module: Module) -> Iterator[Sink]:
        for symbol, node in [("", module.node), *module.functions.items()]:
            flow = TextFlow(self, module, symbol)
            flow.run(node)
            for (line, parser), state in flow.sinks.items():
                yield Sink(module.path, line, symbol or "<module>", parser, VERDICTS[state])

    def callees(self, module: Module, call: ast.Call) -> list[tuple[Module, str]]:
        found = called(self.modules, module, call)
        for other, _ in found:
            self._users.setdefault(other.path, set()).add(module.path)
        return found

    def meet(self, module: Module, qualname: str, name: str, state: int) -> None:
        if self.known.give(f"{module.path}:{qualname}", name, state):
            self.stale.add(module.path)

    def returned(self, module: Module, qualname: str, state: int) -> None:
        if self.known.returned(f"{module.path}:{qualname}", state):
            self.stale |= {module.path, *self._users.get(module.path, ())}


class TextFlow(Flow[int]):
    """Follows one function. `sinks`: (line, parser) -> the worst state that reaches it."""

    nothing = CLEAN

    def __init__(self, program: Program, module: Module, symbol: str) -> None:
        super().__init__()
        self.program, self.module, self.symbol = program, module, symbol
        self.sinks: dict[tuple[int, str], int] = {}
        self.reads_assistant = any(READER.search(name) for name in [*module.imports, *module.by_name])

    def join(self, parts: Iterable[int]) -> int:
        return _worst(parts)

    def run(self, node: ast.AST) -> None:
        """Follow a function's body, or a module's statements outside of functions."""
        if isinstance(node, Function):
            for name in parameters(node):
                known = self.program.known.parameter(f"{self.module.path}:{self.symbol}", name)
                reader = READER.search(node.name) and READER_PARAMETER.match(name)
                transpiler = node.name in self.program.spoken.transpilers and name == "text"
                self.names[name] = RAW if reader or transpiler or self._says_assistant(name) else known
        self.block(getattr(node, "body", []))

    def _says_assistant(self, name: str) -> bool:
        return bool(ASSISTANT_NAME.match(name)) or (name == VAGUE_NAME and self.reads_assistant)

    def assign(self, name: str, value: int, source: ast.expr | None) -> None:
        self.names[name] = RAW if value == CLEAN and self._says_assistant(name) else value

    def returned(self, value: int) -> None:
        self.program.returned(self.module, self.symbol, value)

    def defines(self, node: ast.stmt) -> None:
        """A function in a function sees the names around it. Methods, and functions at a module's top, are followed on
        their own."""
        if not self.symbol or not isinstance(node, Function):
            return
        around = dict(self.names)
        self.names |= {name: RAW if self._says_assistant(name) else CLEAN for name in parameters(node)}
        self.block(node.body)
        self.names = around

    def of_Compare(self, node: ast.Compare) -> int:
        self.of_other(node)
        return CLEAN

    def of_Name(self, node: ast.Name) -> int:
        return self.names.get(node.id, RAW if self._says_assistant(node.id) else CLEAN)

    def of_Attribute(self, node: ast.Attribute) -> int:
        return RAW if _is_message_content(node) else self.value(node.value)

    def of_Subscript(self, node: ast.Subscript) -> int:
        state = self.value(node.value)
        if _is_message_content(node):
            return RAW
        slices = isinstance(node.slice, ast.Slice) and self.program.transpiles(self.module)
        return LITERAL if state == RAW and slices else state

    def of_Call(self, node: ast.Call) -> int:
        given = {id(a): self.value(a) for a in (*node.args, *(k.value for k in node.keywords))}
        worst = _worst(given.values())
        parser = self._parser(node)
        if parser:
            key = (node.lineno, parser)
            self.sinks[key] = max(worst, self.sinks.get(key, CLEAN))
            return CLEAN
        known = self._known_result(node)
        if known is not None:
            return known
        reached = self.program.callees(self.module, node)
        for other, qualname in reached:
            for name, argument in arguments(node, other.functions[qualname]):
                self.program.meet(other, qualname, name, given[id(argument)])
        if reached:
            return _worst(self.program.known.result(f"{m.path}:{q}") for m, q in reached)
        return max(worst, self.value(node.func.value) if isinstance(node.func, ast.Attribute) else CLEAN)

    def _parser(self, node: ast.Call) -> str:
        """The strict parser that a call is, or an empty string."""
        name, method = self.module.dotted(node.func), _method(node)
        if name in PARSERS:
            return name
        if method in PARSER_METHODS:
            return method
        made = node.func.value if isinstance(node.func, ast.Attribute) else None
        if method == "decode" and isinstance(made, ast.Call) and self.module.dotted(made.func).endswith("Decoder"):
            return self.module.dotted(made.func) + ".decode"
        return ""

    def _known_result(self, node: ast.Call) -> int | None:
        """The state of a result that a function's name decides, whatever it is given."""
        name, method = self.module.dotted(node.func), _method(node)
        last = name.rpartition(".")[2] or method
        if last in self.program.spoken.transpilers:
            return TRANSPILED
        if last in self.program.spoken.writers or method == "batch_decode":
            return RAW
        if method == "decode" and isinstance(node.func, ast.Attribute) and TOKENIZER.search(ast.unparse(node.func)):
            return RAW
        return CLEAN if name in FORGETTING or method in FORGETTING_METHODS else None


def _method(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else ""


def _is_message_content(node: ast.Attribute | ast.Subscript) -> bool:
    """`x.message.content` or `x["message"]["content"]`."""
    inner = node.value
    within = isinstance(inner, (ast.Attribute, ast.Subscript)) and _label(inner) == "message"
    return within and _label(node) == "content"


def _label(node: ast.Attribute | ast.Subscript) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return str(node.slice.value) if isinstance(node.slice, ast.Constant) else ""
