"""Where a line of Python can be changed so that it does something else, and how: one small change of one line each."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

COMPARED: dict[type, tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
}
COMPUTED: dict[type, tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
}
SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any"}
# Calls whose only work is to tell a human something, by the last name or by what the name before it is.
TOLD = (
    "warn",
    "warn_once",
    "warning_once",
    "print",
    "log",
    "debug",
    "info",
    "warning",
    "error",
    "exception",
    "critical",
)
TELLERS = re.compile(r"(^|_)(log|logger|logging|warnings)$", re.IGNORECASE)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


class Site(NamedTuple):
    """One change. line: 1-based. first, last: columns that are replaced, in characters. function: the dotted name that
    it stands in; empty at the top of the module or in a class's body, which run at import. rows: the first and the last
    line of the statement, or of its head."""

    kind: str
    line: int
    first: int
    last: int
    instead: str
    function: str
    rows: tuple[int, int]


def mutated(source: str, site: Site) -> str:
    lines = source.split("\n")
    text = lines[site.line - 1]
    lines[site.line - 1] = text[: site.first] + site.instead + text[site.last :]
    return "\n".join(lines)


class Sites:
    """The changes that a module offers, and the number of those that would change nothing but words."""

    def __init__(self, source: str) -> None:
        self.lines = source.split("\n")
        self.found: list[Site] = []
        self.set_aside = 0
        self._quiet = False
        self._function = ""
        self._rows = (1, 1)
        self._scope: list[str] = []
        self._walk(ast.parse(source))

    # ---- walking ---------------------------------------------------------------------------------------------------

    def _walk(self, node: ast.AST) -> None:
        quiet, function, scoped = self._quiet, self._function, isinstance(node, (*FUNCTIONS, ast.ClassDef))
        rows, self._rows = self._rows, _head(node) or self._rows
        self._quiet = quiet or _tells(node)
        if scoped:
            self._scope.append(getattr(node, "name", "<lambda>"))
            self._outer(node)
            self._function = ".".join(self._scope) if isinstance(node, FUNCTIONS) else self._function
        for change in CHANGES:
            for kind, start, end, instead in change(self, node):
                self._add(kind, start, end, instead)
        for name, value in ast.iter_fields(node):
            silent = self._quiet
            # What a human reads, and what only a type checker does.
            self._quiet = silent or name in ("annotation", "returns") or (name == "exc") or _is_doc(node, name)
            for below in value if isinstance(value, list) else [value]:
                if isinstance(below, ast.AST) and not (scoped and isinstance(below, ast.arguments)):
                    self._walk(below)
            self._quiet = silent
        if scoped:
            self._scope.pop()
        self._quiet, self._function, self._rows = quiet, function, rows

    def _outer(self, node: ast.AST) -> None:
        """Defaults are made where the function is defined."""
        arguments = getattr(node, "args", None)
        if isinstance(arguments, ast.arguments):
            for default in filter(None, (*arguments.defaults, *arguments.kw_defaults)):
                for kind, start, end, instead in _constant(self, default, "changed default"):
                    self._add(kind, start, end, instead)

    def _add(self, kind: str, start: ast.expr | ast.stmt, end: ast.expr | ast.stmt, instead: str) -> None:
        """From the start of one node to the end of another; what spans lines is left out."""
        if start.lineno != (end.end_lineno or 0):
            return
        text = self.lines[start.lineno - 1].encode()
        first = len(text[: start.col_offset].decode())
        last = len(text[: end.end_col_offset].decode())
        self._put(kind, start.lineno, first, last, instead)

    def _put(self, kind: str, line: int, first: int, last: int, instead: str) -> None:
        if self._quiet:
            self.set_aside += 1
        elif self.lines[line - 1][first:last] != instead:
            self.found.append(Site(kind, line, first, last, instead, self._function, self._rows))

    def between(self, kind: str, left: ast.expr, right: ast.expr, sign: tuple[str, str]) -> None:
        """Replace the operator that stands between two nodes of one line."""
        if left.end_lineno != right.lineno:
            return
        text = self.lines[right.lineno - 1].encode()
        first, last = (len(text[:n].decode()) for n in (left.end_col_offset or 0, right.col_offset))
        gap = self.lines[right.lineno - 1][first:last]
        at = re.search(rf"(?<![\w<>=!*/]){re.escape(sign[0])}(?![\w<>=!*/])", gap)
        if at:
            self._put(kind, right.lineno, first + at.start(), first + at.end(), sign[1])

    def text(self, node: ast.expr | ast.stmt) -> str:
        """What a node of one line is as it stands; of one of more lines, nothing is made."""
        line = self.lines[node.lineno - 1].encode()
        return line[node.col_offset : node.end_col_offset].decode() if node.lineno == node.end_lineno else ""


Changed = Iterator[tuple[str, ast.expr | ast.stmt, ast.expr | ast.stmt, str]]


def _head(node: ast.AST) -> tuple[int, int] | None:
    """The lines of a statement, without those of its body."""
    if not isinstance(node, (ast.stmt, ast.ExceptHandler)):
        return None
    body = getattr(node, "body", None)
    last = body[0].lineno - 1 if isinstance(body, list) and body else node.end_lineno or node.lineno
    return node.lineno, max(node.lineno, last)


def _tells(node: ast.AST) -> bool:
    """Whether it is done only to tell a human something."""
    call = node.value if isinstance(node, ast.Expr) else None
    if isinstance(node, (ast.Raise, ast.Assert)):
        return False  # their message is set aside by its field, what decides them is not
    if isinstance(node, ast.JoinedStr):
        return True
    if isinstance(node, ast.Assign) and any(getattr(t, "id", "") in ("__all__", "logger") for t in node.targets):
        return True
    if not isinstance(call, ast.Call):
        return False
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    before = getattr(call.func, "value", None)
    teller = getattr(before, "id", getattr(before, "attr", ""))
    if name in ("print", "warn"):
        return True
    return name in TOLD and bool(TELLERS.search(teller))


def _is_doc(node: ast.AST, field: str) -> bool:
    return (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) or (
        isinstance(node, ast.Assert) and field == "msg"
    )


# ---- changes ---------------------------------------------------------------------------------------------------------


def _comparison(at: Sites, node: ast.AST) -> Changed:
    if isinstance(node, ast.Compare):
        for left, sign, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            if type(sign) in COMPARED:
                at.between("comparison", left, right, COMPARED[type(sign)])
    return iter(())


def _arithmetic(at: Sites, node: ast.AST) -> Changed:
    if isinstance(node, ast.BinOp) and type(node.op) in COMPUTED and not isinstance(node.left, ast.JoinedStr):
        at.between("arithmetic", node.left, node.right, COMPUTED[type(node.op)])
    return iter(())


def _boolean(at: Sites, node: ast.AST) -> Changed:
    if isinstance(node, ast.BoolOp):
        sign = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            at.between("and/or", left, right, sign)
    return iter(())


def _negation(at: Sites, node: ast.AST) -> Changed:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "dropped not", node, node, at.text(node.operand)
    elif isinstance(node, (ast.If, ast.IfExp)) and not isinstance(node.test, ast.Compare | ast.UnaryOp):
        yield "negated condition", node.test, node.test, f"(not ({at.text(node.test)}))"


def _constant(at: Sites, node: ast.AST, kind: str = "") -> Changed:
    if not isinstance(node, ast.Constant) or node.value is None or node.value is Ellipsis:
        return
    value = node.value
    if isinstance(value, bool):
        yield kind or "constant", node, node, str(not value)
    elif isinstance(value, int):
        yield kind or "off by one", node, node, str(value + 1)
    elif isinstance(value, float):
        yield kind or "constant", node, node, repr(value * 2 if value else 0.5)
    elif isinstance(value, str) and re.fullmatch(r"[\w./-]+", value) and at.text(node)[:1] in "'\"":
        yield kind or "constant", node, node, repr(f"{value}_")


def _call(at: Sites, node: ast.AST) -> Changed:
    if not isinstance(node, ast.Call):
        return
    plain = [a for a in node.args if not isinstance(a, ast.Starred)]
    if isinstance(node.func, ast.Name) and node.func.id in SWAPPED:
        yield "other function", node.func, node.func, SWAPPED[node.func.id]
    elif len(plain) >= 2 and plain == node.args[: len(plain)] and not isinstance(plain[0], ast.GeneratorExp):
        first, second = plain[:2]
        if first.end_lineno == second.lineno and _name(node) not in ("isinstance", "getattr", "hasattr", "setattr"):
            yield "swapped arguments", first, second, f"{at.text(second)}, {at.text(first)}"


def _name(call: ast.Call) -> str:
    return str(getattr(call.func, "attr", getattr(call.func, "id", "")))


def _removed(at: Sites, node: ast.AST) -> Changed:
    """A statement is not done: a call for its effect, a store to a part of something, a raise, a jump."""
    called = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    stored = isinstance(node, ast.Assign) and not isinstance(node.targets[0], (ast.Name, ast.Tuple))
    jumped = isinstance(node, (ast.AugAssign, ast.Raise, ast.Continue, ast.Break))
    if called or stored or jumped:
        yield "removed statement", node, node, "pass"  # type: ignore[misc]


def _index(at: Sites, node: ast.AST) -> Changed:
    """The end or the start of a slice, and the end of a range, one further."""
    bounds = [node.lower, node.upper] if isinstance(node, ast.Slice) else []
    if isinstance(node, ast.Call) and _name(node) == "range":
        bounds = list(node.args[:2])
    for bound in bounds:
        if bound is not None and not isinstance(bound, ast.Constant):
            yield "off by one", bound, bound, f"({at.text(bound)}) + 1"


CHANGES: tuple[Callable[[Sites, ast.AST], Changed], ...] = (
    *(_comparison, _arithmetic, _boolean, _negation, _constant, _call, _removed, _index),
)
