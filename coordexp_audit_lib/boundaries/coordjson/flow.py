"""The states of a text inside one function, followed statement by statement."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from typing import Any

from coordexp_audit_lib.boundaries.coordjson.names import (
    CLEAN,
    LITERAL,
    RAW,
    READER_NAME,
    TRANSPILED,
    TRANSPILERS,
    Function,
    Knowledge,
    Module,
)

WRITERS = frozenset({"dumps_coordjson"})
PARSERS = frozenset(
    {
        "json.loads",
        "json.load",
        "json.JSONDecoder.decode",
        "orjson.loads",
        "ujson.loads",
        "simplejson.loads",
        "rapidjson.loads",
        "msgspec.json.decode",
        "msgspec.yaml.decode",
        "yaml.safe_load",
        "yaml.load",
        "json5.loads",
        "ast.literal_eval",
        "eval",
        "json_repair.loads",
        "json_repair.repair_json",
        "demjson3.decode",
        "hjson.loads",
    }
)
PARSER_METHODS = frozenset({"raw_decode", "model_validate_json", "parse_raw", "scan_once"})
FORGETTING = frozenset(
    {  # results that are no text, or text that json itself wrote
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
    }
)
FORGETTING_METHODS = frozenset({"find", "rfind", "index", "count", "startswith", "endswith", "isdigit", "isspace"})
TOKENIZER = re.compile(r"tokenizer|processor|template|\btok\b", re.I)
ASSISTANT_NAME = re.compile(
    r"^_?(?:(?:assistant|rollout|response|pred|prediction|generated|generation|completion|model|output|model_output|decoded)"
    r"_(?:text|str|string|content)s?|raw_output(?:_text)?|assistant_output)$"
)
VAGUE_NAME = "raw_text"  # says assistant text only in a module that reads some
READER_PARAMETER = re.compile(r"^(?:text|raw|content|output|string|block)$")


class Flow:
    """Follows one function. `sinks`: (line, parser) -> the worst state that reaches it.

    A statement of type `X` is followed by `_do_X`, an expression by `_of_X`; for others the parts decide.
    """

    def __init__(self, module: Module, knowledge: Knowledge, symbol: str) -> None:
        self.module, self.knowledge, self.symbol = module, knowledge, symbol
        self.sinks: dict[tuple[int, str], int] = {}
        self.names: dict[str, int] = {}

    def run(self, node: ast.AST) -> None:
        """Follow a function's body, or a module's statements outside of functions."""
        if isinstance(node, Function):
            self._enter(node)
        self._block(getattr(node, "body", []))

    def _enter(self, node: Function) -> None:
        for name in _parameters(node):
            known = self.knowledge.parameter(self.module, self.symbol, name)
            reader = READER_NAME.search(node.name) and READER_PARAMETER.match(name)
            transpiler = node.name in TRANSPILERS and name == "text"
            self.names[name] = RAW if reader or transpiler or self._says_assistant(name) else known

    def _says_assistant(self, name: str) -> bool:
        return bool(ASSISTANT_NAME.match(name)) or (name == VAGUE_NAME and self.module.reads_assistant)

    def _block(self, body: Iterable[ast.stmt]) -> None:
        for node in body:
            follow = getattr(self, f"_do_{type(node).__name__}", self._do_other)
            follow(node)

    def _do_other(self, node: ast.stmt) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.state(child)

    def _do_Assign(self, node: ast.Assign) -> None:
        state = self.state(node.value)
        for target in node.targets:
            self._assign(target, state)

    def _do_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._assign(node.target, self.state(node.value))

    def _do_AugAssign(self, node: ast.AugAssign) -> None:
        self._assign(node.target, max(self.state(node.value), self.state(node.target)))

    def _do_Return(self, node: ast.Return) -> None:
        self.knowledge.returned(self.module, self.symbol, self.state(node.value))

    def _do_For(self, node: ast.For | ast.AsyncFor) -> None:
        self._assign(node.target, self.state(node.iter))
        self._loop(node.body, node.orelse)

    def _do_While(self, node: ast.While) -> None:
        self.state(node.test)
        self._loop(node.body, node.orelse)

    def _loop(self, body: list[ast.stmt], orelse: list[ast.stmt]) -> None:
        """Twice, for what a body's end says about its beginning."""
        self._branches([body, orelse])
        self._branches([body])

    def _do_If(self, node: ast.If) -> None:
        self.state(node.test)
        self._branches([node.body, node.orelse])

    def _do_Try(self, node: ast.Try) -> None:
        self._branches([node.body, *(h.body for h in node.handlers), node.orelse])
        self._block(node.finalbody)

    def _do_Match(self, node: ast.Match) -> None:
        self.state(node.subject)
        self._branches([case.body for case in node.cases])

    def _do_With(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            state = self.state(item.context_expr)
            if item.optional_vars is not None:
                self._assign(item.optional_vars, state)
        self._block(node.body)

    def _do_FunctionDef(self, node: Function) -> None:
        """A function in a function sees the names around it. At a module's top it is followed on its own."""
        if not self.symbol:
            return
        around = dict(self.names)
        for name in _parameters(node):
            self.names[name] = RAW if self._says_assistant(name) else CLEAN
        self._block(node.body)
        self.names = around

    def _do_ClassDef(self, node: ast.ClassDef) -> None:
        """Its methods are followed on their own."""

    _do_AsyncFor, _do_AsyncWith, _do_AsyncFunctionDef, _do_TryStar = _do_For, _do_With, _do_FunctionDef, _do_Try

    def _assign(self, target: ast.expr, state: int) -> None:
        if isinstance(target, ast.Name):
            named = self._says_assistant(target.id) and state == CLEAN
            self.names[target.id] = RAW if named else state
        elif isinstance(target, (ast.Tuple, ast.List)):
            for part in target.elts:
                self._assign(part, state)
        elif isinstance(target, ast.Starred):
            self._assign(target.value, state)
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            self.names[target.value.id] = max(state, self.names.get(target.value.id, CLEAN))

    def _branches(self, bodies: Sequence[list[ast.stmt]]) -> None:
        """Follow each branch from the same start; a name is then in the worst of its states."""
        before, after = dict(self.names), dict(self.names)
        for body in bodies:
            self.names = dict(before)
            self._block(body)
            for name, state in self.names.items():
                after[name] = max(state, after.get(name, CLEAN))
        self.names = after

    def state(self, node: ast.AST | None) -> int:
        """The worst state that the value of an expression can be in."""
        if node is None:
            return CLEAN
        follow = getattr(self, f"_of_{type(node).__name__}", self._of_other)
        return int(follow(node))

    def _of_other(self, node: ast.AST) -> int:
        return max((self.state(child) for child in ast.iter_child_nodes(node)), default=CLEAN)

    def _of_Constant(self, node: ast.AST) -> int:
        return CLEAN

    _of_Lambda = _of_Constant

    def _of_Compare(self, node: ast.Compare) -> int:
        self._of_other(node)
        return CLEAN

    def _of_Name(self, node: ast.Name) -> int:
        return self.names.get(node.id, RAW if self._says_assistant(node.id) else CLEAN)

    def _of_Attribute(self, node: ast.Attribute) -> int:
        return RAW if _is_message_content(node) else self.state(node.value)

    def _of_Subscript(self, node: ast.Subscript) -> int:
        state = self.state(node.value)
        if _is_message_content(node):
            return RAW
        if state == RAW and self.module.is_transpiler and isinstance(node.slice, ast.Slice):
            return LITERAL
        return state

    def _of_NamedExpr(self, node: ast.NamedExpr) -> int:
        state = self.state(node.value)
        self._assign(node.target, state)
        return state

    def _of_IfExp(self, node: ast.IfExp) -> int:
        self.state(node.test)
        return max(self.state(node.body), self.state(node.orelse))

    def _of_comprehension(self, node: Any) -> int:
        around = dict(self.names)
        for generator in node.generators:
            self._assign(generator.target, self.state(generator.iter))
            for test in generator.ifs:
                self.state(test)
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        state = max(self.state(part) for part in parts)
        self.names = around
        return state

    _of_ListComp = _of_SetComp = _of_GeneratorExp = _of_DictComp = _of_comprehension

    def _of_Call(self, node: ast.Call) -> int:
        states = [self.state(a) for a in node.args]
        named = {k.arg or "": self.state(k.value) for k in node.keywords}
        worst = max([*states, *named.values()], default=CLEAN)
        parser = self._parser(node)
        if parser:
            key = (node.lineno, parser)
            self.sinks[key] = max(worst, self.sinks.get(key, CLEAN))
            return CLEAN
        known = self._known_result(node)
        if known is not None:
            return known
        reached = self.knowledge.resolve(self.module, node)
        for other, qualname in reached:
            self.knowledge.meet(other, qualname, states, named)
        if reached:
            return max(self.knowledge.result(m, q) for m, q in reached)
        return max(worst, self.state(node.func.value) if isinstance(node.func, ast.Attribute) else CLEAN)

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
        if last in TRANSPILERS:
            return TRANSPILED
        if last in WRITERS or method == "batch_decode":
            return RAW
        if method == "decode" and isinstance(node.func, ast.Attribute) and TOKENIZER.search(ast.unparse(node.func)):
            return RAW
        return CLEAN if name in FORGETTING or method in FORGETTING_METHODS else None


def _parameters(node: Function) -> list[str]:
    return [a.arg for a in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]]


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
