"""What a small function of the tree gives back, read without running it: assignments, branches whose tests are known,
and an object of plain fields at the end."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping

import msgspec

from coordexp_audit_lib.source.names import Function, parameters
from coordexp_audit_lib.source.reach.bindings import assigned_name
from coordexp_audit_lib.source.reach.program import External, Node, Program
from coordexp_audit_lib.source.reach.settings import UNKNOWN, Known, Unknown, Value

MAX_CALLS = 8  # small functions that call one another
MAX_FORKS = 64  # branches of one call, both of which may be taken
Evaluate = Callable[[Node, ast.AST, Mapping[str, Value]], Value]


class Made(msgspec.Struct, frozen=True):
    """An object of a class that has fields and no `__init__` of its own, by what it was made with."""

    node: Node
    fields: dict[str, Value]


class _End(msgspec.Struct, frozen=True):
    """How a body ends: with a value, or by raising (None)."""

    value: Value | None


class Small:
    """Reads calls of functions and classes. evaluate: an expression in a scope, with values of its local names."""

    def __init__(self, program: Program, evaluate: Evaluate) -> None:
        self.program, self.evaluate = program, evaluate
        self._depth = self._forks = 0

    def call(self, scope: Node, call: ast.Call, of: Callable[[ast.AST], Value]) -> Value:
        """The value of a call of something that the tree defines once; unknown for all that is not small."""
        targets = self.program.value(scope, call.func)
        if len(targets) != 1 or isinstance(targets[0], External) or self._depth >= MAX_CALLS:
            return UNKNOWN
        defined = self.program.defined(targets[0])
        spread = any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords)
        if len(defined) != 1 or spread:
            return UNKNOWN
        node = defined[0].node
        if isinstance(node, ast.ClassDef):
            return self._made(targets[0], node, call, of)
        if not isinstance(node, Function) or node.decorator_list:
            return UNKNOWN
        names = parameters(node)
        given: dict[str, Value] = dict.fromkeys(names, UNKNOWN)
        given |= {n: self.evaluate(targets[0], d, {}) for n, d in defaults(node).items()}
        given |= {n: of(a) for n, a in zip(names, call.args, strict=False)}
        given |= {k.arg: of(k.value) for k in call.keywords if k.arg in names and k.arg}
        self._depth, self._forks = self._depth + 1, self._forks if self._depth else 0
        try:
            end = self._body(targets[0], node.body, given, "")
        finally:
            self._depth -= 1
        return UNKNOWN if end is None or end.value is None else end.value

    def _made(self, node: Node, definition: ast.ClassDef, call: ast.Call, of: Callable[[ast.AST], Value]) -> Value:
        """An object of a class of annotated fields; one that is made by code of its own is not read."""
        if definition.bases or call.args or self.program.members(node) & {"__init__", "__new__", "__post_init__"}:
            return UNKNOWN
        fields = [s for s in definition.body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)]
        made: dict[str, Value] = {}
        for field in fields:
            assert isinstance(field.target, ast.Name)
            plain = isinstance(field.value, ast.Constant)
            made[field.target.id] = Known(field.value.value) if plain else UNKNOWN  # type: ignore[union-attr]
        made |= {k.arg: of(k.value) for k in call.keywords if k.arg}
        return Known(Made(node, made)) if fields else UNKNOWN

    def _body(self, scope: Node, body: list[ast.stmt], given: dict[str, Value], why: str) -> _End | None:
        """Run statements; None where it cannot be told how they end, or they do not. why: what decided the branches."""
        for n, statement in enumerate(body):
            target = assigned_name(statement)
            value = getattr(statement, "value", None)
            if target is not None and value is not None:
                given[target.id] = self.evaluate(scope, value, given)
            elif isinstance(statement, ast.Return):
                found = Known(None) if value is None else self.evaluate(scope, value, given)
                return _End(because(found, why))
            elif isinstance(statement, ast.Raise):
                return _End(None)
            elif isinstance(statement, ast.If):
                return self._branch(scope, statement, body[n + 1 :], given, why)
            elif not (isinstance(statement, ast.Pass) or isinstance(value, ast.Constant)):
                return None
        return None

    def _branch(
        self, scope: Node, node: ast.If, rest: list[ast.stmt], given: dict[str, Value], why: str
    ) -> _End | None:
        test = self.evaluate(scope, node.test, given)
        if isinstance(test, Known):
            reasons = "; ".join(dict.fromkeys(w for w in (why, test.why) if w))
            return self._body(scope, [*(node.body if test.value else node.orelse), *rest], given, reasons)
        self._forks += 1
        if self._forks > MAX_FORKS:
            return None
        taken = self._body(scope, [*node.body, *rest], dict(given), why)
        other = self._body(scope, [*node.orelse, *rest], dict(given), why)
        if taken == _End(None):
            return other  # what comes after a refusal ran because nothing was refused
        return taken if taken == other or other == _End(None) else None


def defaults(node: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, ast.expr]:
    """The expressions that parameters default to, by name."""
    of = node.args
    positional = [a.arg for a in (*of.posonlyargs, *of.args)]
    found = dict(zip(positional[len(positional) - len(of.defaults) :], of.defaults, strict=True))
    found |= {a.arg: d for a, d in zip(of.kwonlyargs, of.kw_defaults, strict=True) if d is not None}
    return found


def because(value: Value, why: str) -> Value:
    """A known value, with what of the config decided besides that it is the one."""
    if isinstance(value, Unknown) or not why:
        return value
    return Known(value.value, "; ".join(dict.fromkeys(w for w in (why, value.why) if w)))


def field_of(value: Value, name: str) -> Value:
    """A field of an object that is known."""
    if not isinstance(value, Known) or not isinstance(value.value, Made):
        return UNKNOWN
    return because(value.value.fields.get(name, UNKNOWN), value.why)
