"""What an expression is before the code runs, as far as literals and the config tell: tests of branches above all."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from coordexp_audit_lib.source.reach.program import External, Node, Program
from coordexp_audit_lib.source.reach.settings import UNKNOWN, Keys, Known, Settings, Thing, Unknown, Value
from coordexp_audit_lib.source.reach.small import Made, Small, because, field_of
from coordexp_audit_lib.source.tree import text_of

MAX_DEPTH = 12
COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    **{ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Is: operator.is_, ast.IsNot: operator.is_not},
    **{ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b},
    **{ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge},
}
CONVERTED: dict[str, Callable[[Any], Any]] = {
    **{"bool": bool, "str": str, "int": int, "float": float, "frozenset": frozenset, "set": set, "tuple": tuple}
}
TEXT_METHODS = ("strip", "lower", "upper", "casefold", "lstrip", "rstrip")
TYPES: dict[str, Any] = {
    **{"bool": bool, "str": str, "int": int, "float": float, "list": list, "dict": dict, "tuple": tuple},
    "Mapping": Mapping,
}
FILLED = (ast.List, ast.Set, ast.Dict)  # what a name is bound to may be filled later
FREE = ("TYPE_CHECKING", "typing.TYPE_CHECKING")  # false whenever code runs


class Truth:
    """Evaluates expressions of a program under one config. dead: lines that were found not to run, by file."""

    def __init__(self, program: Program, settings: Settings, main: str = "") -> None:
        self.program, self.settings, self.main = program, settings, main
        self.dead: dict[str, list[tuple[int, int, str]]] = {}
        self._values: dict[tuple[Node, int], Value] = {}
        self.small = Small(program, lambda scope, node, given: self.value(scope, node, given=given))

    def test(self, scope: Node, node: ast.expr) -> tuple[bool | None, str]:
        """Whether a test holds, None if it can't be told, and what of the config decided it."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            holds, why = self.test(scope, node.operand)
            return (None if holds is None else not holds), why
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "bool" and len(node.args) == 1:
            return self.test(scope, node.args[0])
        if isinstance(node, ast.BoolOp):  # one operand may decide, whatever the others are
            stops = isinstance(node.op, ast.Or)
            tests = [self.test(scope, v) for v in node.values]
            decisive = next((t for t in tests if t[0] is stops), None)
            if decisive is not None:
                return decisive
            whys = "; ".join(dict.fromkeys(why for _, why in tests if why))
            return (None, "") if any(holds is None for holds, _ in tests) else (not stops, whys)
        value = self.value(scope, node)
        if isinstance(value, Unknown):
            return None, ""
        return bool(value.value), value.why

    def runs(self, path: str, line: int) -> str | None:
        """Why a line does not run under this config; None if it may."""
        return next((why for first, last, why in self.dead.get(path, []) if first <= line <= last), None)

    def value(self, scope: Node, node: ast.AST, depth: int = MAX_DEPTH, given: Mapping[str, Value] = {}) -> Value:
        """given: values of parameters, where a small function is looked into."""
        if depth == 0:
            return UNKNOWN
        if given:
            return self._value(scope, node, depth, given)
        key = (scope, id(node))
        if key not in self._values:
            self._values[key] = UNKNOWN  # what depends on itself is not known
            self._values[key] = self._value(scope, node, depth, given)
        return self._values[key]

    def _value(self, scope: Node, node: ast.AST, depth: int, given: Mapping[str, Value]) -> Value:
        found = self._literal(scope, node, depth - 1, given)
        if not isinstance(found, Unknown) or not isinstance(node, (ast.Name, ast.Attribute, ast.Subscript, ast.Call)):
            return found
        chain = self.chain(scope, node, depth - 1)
        return self.settings.of(chain, self._default(scope, node, depth - 1)) if chain else UNKNOWN

    def _literal(self, scope: Node, node: ast.AST, depth: int, given: Mapping[str, Value]) -> Value:
        def of(n: ast.AST) -> Value:
            return self.value(scope, n, depth, given)

        found: Value = UNKNOWN
        if isinstance(node, ast.Constant):
            found = Known(node.value)
        elif isinstance(node, ast.Name):
            found = given[node.id] if node.id in given else self._name(scope, node.id, depth)
        elif isinstance(node, ast.Attribute):
            found = field_of(of(node.value), node.attr)
        elif isinstance(node, ast.Dict):
            found = self._table(node, of)
        elif isinstance(node, (ast.Set, ast.Tuple, ast.List)):
            found = applied(lambda *items: items, *(of(e) for e in node.elts))
        elif isinstance(node, ast.IfExp):
            test = of(node.test)
            found = (
                UNKNOWN
                if isinstance(test, Unknown)
                else because(of(node.body if test.value else node.orelse), test.why)
            )
        elif isinstance(node, ast.Call):
            found = self._call(scope, node, of, depth)
        else:
            found = self._operation(node, of)
        return found

    def _operation(self, node: ast.AST, of: Callable[[ast.AST], Value]) -> Value:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return applied(operator.not_, of(node.operand))
        if isinstance(node, ast.BoolOp):
            return self._bool(node, of)
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            return applied(COMPARED[type(node.ops[0])], of(node.left), of(node.comparators[0]))
        return UNKNOWN

    def _table(self, node: ast.Dict, of: Callable[[ast.AST], Value]) -> Value:
        """A mapping that is written down in full."""
        keys = [k for k in node.keys if k is not None]
        pairs = applied(lambda *items: items, *(of(n) for n in (*keys, *node.values)))
        if len(keys) < len(node.values) or not isinstance(pairs, Known):
            return UNKNOWN
        return applied(
            lambda *items: dict(zip(items[: len(keys)], items[len(keys) :], strict=True)), *map(Known, pairs.value)
        )

    def _bool(self, node: ast.BoolOp, of: Callable[[ast.AST], Value]) -> Value:
        """`and`, `or`, as far as each operand before the one that decides is known."""
        stops = isinstance(node.op, ast.Or)
        whys = []
        value: Value = UNKNOWN
        for operand in node.values:
            value = of(operand)
            if isinstance(value, Unknown):
                return UNKNOWN
            whys.append(value.why)
            if bool(value.value) is stops:
                break
        return Known(value.value, "; ".join(dict.fromkeys(w for w in whys if w))) if isinstance(value, Known) else value

    def _call(self, scope: Node, node: ast.Call, of: Callable[[ast.AST], Value], depth: int) -> Value:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in CONVERTED and len(node.args) == 1 and not node.keywords:
            value = of(node.args[0])
            if isinstance(value, Known) and isinstance(value.value, (Thing, Made)):
                return value if name == "bool" or isinstance(value.value, Thing) else UNKNOWN
            return applied(CONVERTED[name], value)
        if name == "isinstance" and len(node.args) == 2:
            wanted = node.args[1].elts if isinstance(node.args[1], ast.Tuple) else [node.args[1]]
            types: list[Any] = [TYPES.get(t.id if isinstance(t, ast.Name) else "") for t in wanted]
            value = of(node.args[0])
            plain = isinstance(value, Known) and not isinstance(value.value, Thing) and None not in types
            return applied(lambda v: isinstance(v, tuple(types)), value) if plain else UNKNOWN
        if isinstance(node.func, ast.Attribute) and node.func.attr in TEXT_METHODS and not node.args:
            value = of(node.func.value)
            text = isinstance(value, Known) and isinstance(value.value, str)
            return applied(lambda v: getattr(v, node.func.attr)(), value) if text else UNKNOWN  # type: ignore[attr-defined]
        if isinstance(node.func, ast.Attribute) and node.func.attr == "get" and not node.keywords:
            return self._read_from_table(node, of)
        return self.small.call(scope, node, of)

    def _read_from_table(self, node: ast.Call, of: Callable[[ast.AST], Value]) -> Value:
        """`TABLE.get(key)`, `TABLE.get(key, other)` of a mapping that is known."""
        assert isinstance(node.func, ast.Attribute)
        table = of(node.func.value)
        plain = isinstance(table, Known) and isinstance(table.value, Mapping) and len(node.args) in (1, 2)
        return applied(lambda t, *rest: t.get(*rest), table, *(of(a) for a in node.args)) if plain else UNKNOWN

    # ---- names -----------------------------------------------------------------------------------------------------

    def _name(self, scope: Node, name: str, depth: int) -> Value:
        """A local name that every assignment that runs gives the same value; a module's name that is bound once."""
        bound = self._bound(scope, name)
        if bound is not None:
            values = [UNKNOWN if b is None or isinstance(b, FILLED) else self.value(scope, b, depth) for b in bound]
            known = [v for v in values if isinstance(v, Known)]
            same = len(known) == len(values) > 0 and all(_same(v.value, known[0].value) for v in known)
            return known[0] if same else UNKNOWN
        if name == "__name__":
            return Known("__main__" if scope.path == self.main else scope.path)
        meanings = self.program.name(scope, name)
        if any(isinstance(m, External) and m.dotted in FREE for m in meanings):
            return Known(False)
        if len(meanings) == 1 and isinstance(meanings[0], Node):
            module = self.program.module(meanings[0].path)
            values_there = module.bound.get(meanings[0].name, []) if module else []
            once = values_there[0] if len(values_there) == 1 and meanings[0].name.isupper() else None
            changed = meanings[0].name in self.settings.written or (module and meanings[0].name in module.changed)
            if isinstance(once, (ast.Constant, ast.Set, ast.Tuple, ast.Dict, ast.Call)) and not changed:
                return self.value(Node(meanings[0].path, ""), once, depth)
        return UNKNOWN

    def _bound(self, scope: Node, name: str) -> list[ast.expr | None] | None:
        """The values that the innermost function around which binds a name gives it where it runs; None: no local."""
        for function in self.program.enclosing(scope):
            if name in self.program.local_names(function):
                found = self.program.bindings(function).get(name, [None])
                return [b for b in found if b is None or self.runs(function.path, b.lineno) is None]
        return None

    def chain(self, scope: Node, node: ast.AST, depth: int = MAX_DEPTH) -> Keys:
        """The names by which a value is read: `getattr(cfg.custom, "extra", {}).get("x")` is cfg, custom, extra, x.

        A local name that is bound once is replaced by what it is bound to.
        """
        if depth == 0:
            return ()
        if isinstance(node, ast.Name):
            bound = self._bound(scope, node.id)
            only = bound[0] if bound is not None and len(bound) == 1 else None
            if only is not None:
                return self.chain(scope, only, depth - 1) or ((node.id,) if node.id in self.settings.holders else ())
            return (node.id,)
        if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
            return self.chain(scope, node.values[0], depth - 1)
        holder, key = read_by_name(node)
        above = self.chain(scope, holder, depth - 1) if holder is not None else ()
        return (*above, key) if above and key else ()

    def _default(self, scope: Node, node: ast.AST, depth: int) -> Value:
        """What a read by name yields where there is no such key."""
        if not isinstance(node, ast.Call) or read_by_name(node)[0] is None:
            return UNKNOWN
        given = node.args[2:] if isinstance(node.func, ast.Name) else node.args[1:]
        absent = Known(None) if isinstance(node.func, ast.Attribute) else UNKNOWN
        return self.value(scope, given[0], depth) if given else absent


def read_by_name(node: ast.AST) -> tuple[ast.expr | None, str]:
    """What a value is read from, and the name: `x.a`, `x["a"]`, `x.get("a")`, `getattr(x, "a")`."""
    if isinstance(node, ast.Attribute):
        return node.value, node.attr
    if isinstance(node, ast.Subscript):
        return node.value, text_of(node.slice) or ""
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr == "get" and node.args:
            return node.func.value, text_of(node.args[0]) or ""
        if isinstance(node.func, ast.Name) and node.func.id == "getattr" and len(node.args) > 1:
            return node.args[0], text_of(node.args[1]) or ""
    return None, ""


def applied(function: Callable[..., Any], *values: Value) -> Value:
    """A function of known values; unknown where one is, or where the values do not fit."""
    known = [v for v in values if isinstance(v, Known)]
    if len(known) < len(values):
        return UNKNOWN
    try:
        result = function(*(v.value for v in known))
    except Exception:  # what the code would do then is not ours to tell
        return UNKNOWN
    return Known(result, "; ".join(dict.fromkeys(v.why for v in known if v.why)))


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)
