"""From lines to statements: which statement and which function a line of a file belongs to."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

import msgspec

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.source.names import Function, definitions
from coordexp_audit_lib.source.tree import DEFINITIONS, Tree, children, module_name

Line = tuple[str, int]


class Statement(msgspec.Struct, frozen=True, eq=False):
    """A statement, or the head of a compound one. line: where it begins. function: the qualified name around it."""

    path: str
    line: int
    function: str
    node: ast.stmt

    @property
    def key(self) -> Line:
        return self.path, self.line

    @property
    def where(self) -> Where:
        return Where(self.path, self.line, f"{module_name(self.path)}:{self.function}")

    def parts(self) -> tuple[ast.AST, ...]:
        """The nodes of the statement itself, without the bodies that stand in it."""
        return _parts(self.node)


class Statements:
    """The statements inside the functions of a tree's files, each file read on first use."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._lines: dict[str, dict[int, Statement]] = {}
        self._all: dict[str, list[Statement]] = {}

    def at(self, path: str, line: int) -> Statement | None:
        """The innermost statement on a line; None for what is no statement of a function, and for a `def` itself."""
        self._read(path)
        return self._lines[path].get(line)

    def of(self, path: str) -> list[Statement]:
        """All of a file, in order of the source."""
        self._read(path)
        return self._all[path]

    def where(self, path: str, line: int) -> Where:
        """The place of a line, with the function around it where there is one; the line is kept."""
        found = self.at(path, line)
        return Where(path, line, found.where.symbol if found else module_name(path))

    def _read(self, path: str) -> None:
        if path in self._lines:
            return
        self._lines[path], self._all[path] = {}, []
        try:
            module = self.tree.module(path)
        except SurfaceFailed:  # what does not parse here has no statements to point at
            return
        for defined in definitions(module):
            if isinstance(defined.node, Function):
                for node in _statements(defined.node.body):
                    self._keep(Statement(path, node.lineno, defined.qualname, node))
        self._all[path].sort(key=lambda s: s.line)

    def _keep(self, statement: Statement) -> None:
        self._all[statement.path].append(statement)
        lines, node = self._lines[statement.path], statement.node
        for line in range(node.lineno, _last_line(node) + 1):
            before = lines.get(line)
            if before is None or before.line < statement.line:
                lines[line] = statement


@lru_cache(maxsize=1 << 15)
def _parts(statement: ast.stmt) -> tuple[ast.AST, ...]:
    found: list[ast.AST] = []
    stack: list[ast.AST] = [statement]
    while stack:
        node = stack.pop()
        found.append(node)
        stack += [n for n in children(node) if not isinstance(n, (ast.stmt, ast.excepthandler, ast.match_case))]
    return tuple(found)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a function's body at any depth, without inner functions and classes and documentation."""
    for node in body:
        if isinstance(node, DEFINITIONS) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            continue
        yield node
        for name in ("body", "orelse", "finalbody"):
            yield from _statements(getattr(node, name, []))
        for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
            yield from _statements(part.body)


def _last_line(node: ast.stmt) -> int:
    """The last line of a simple statement, or of a compound one's head."""
    body = getattr(node, "body", None) or [c for case in getattr(node, "cases", ()) for c in case.body]
    return max(node.lineno, body[0].lineno - 1) if body else node.end_lineno or node.lineno
