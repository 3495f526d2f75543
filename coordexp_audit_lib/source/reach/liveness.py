"""What of a body runs, given what its tests are: the expressions, the imports and the definitions that stand there."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from coordexp_audit_lib.source.reach.program import Node
from coordexp_audit_lib.source.reach.truth import Truth
from coordexp_audit_lib.source.tree import DEFINITIONS, children

ENDS = (ast.Return, ast.Raise, ast.Continue, ast.Break)


class Body:
    """Walks a body once, in order. `nodes` yields every live expression, import and definition, the latter unopened.

    Lines that do not run are noted in `truth.dead`, with the value of the config that decides it.
    """

    def __init__(self, truth: Truth, scope: Node) -> None:
        self.truth, self.scope = truth, scope

    def nodes(self, statements: list[ast.stmt]) -> Iterator[ast.AST]:
        yield from self._block(statements)

    def _block(self, statements: list[ast.stmt]) -> Iterator[ast.AST]:
        for n, statement in enumerate(statements):
            yield from self._statement(statement)
            why = self._ends(statement)
            if why is not None:
                self._dead(statements[n + 1 :], why)
                return

    def _statement(self, node: ast.stmt) -> Iterator[ast.AST]:
        if isinstance(node, DEFINITIONS):
            yield node
        elif isinstance(node, (ast.If, ast.While)):
            holds, why = self.truth.test(self.scope, node.test)
            yield from self._expression(node.test)
            if holds is not False:
                yield from self._block(node.body)
            else:
                self._dead(node.body, why)
            if holds is not True or isinstance(node, ast.While):
                yield from self._block(node.orelse)
            else:
                self._dead(node.orelse, why)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, ast.AnnAssign):
            yield from self._expressions([node.target, node.value])
        else:
            for _, value in ast.iter_fields(node):
                yield from self._part(value)

    def _part(self, value: object) -> Iterator[ast.AST]:
        if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
            yield from self._block(value)
        elif isinstance(value, list):
            for one in value:
                yield from self._part(one)
        elif isinstance(value, ast.expr):
            yield from self._expression(value)
        elif isinstance(value, ast.AST):
            for _, inner in ast.iter_fields(value):
                yield from self._part(inner)

    def _expressions(self, nodes: list[ast.expr | None]) -> Iterator[ast.AST]:
        for node in nodes:
            if node is not None:
                yield from self._expression(node)

    def _expression(self, node: ast.expr) -> Iterator[ast.AST]:
        if isinstance(node, ast.IfExp):
            holds, _ = self.truth.test(self.scope, node.test)
            live = [
                node.test,
                *([node.body] if holds is not False else []),
                *([node.orelse] if holds is not True else []),
            ]
            yield from self._expressions(list(live))
            return
        if isinstance(node, ast.BoolOp):
            for operand in node.values:
                yield from self._expression(operand)
                if self.truth.test(self.scope, operand)[0] is isinstance(node.op, ast.Or):
                    return
            return
        yield node
        if isinstance(node, ast.Call):
            yield from self._call(node)
        else:
            yield from self._children(node)

    def _call(self, node: ast.Call) -> Iterator[ast.AST]:
        """A class that an object is only compared with, or that `super` starts behind, is not used for that."""
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        arguments = node.args[:1] if name == "isinstance" else node.args[1:] if name == "super" else node.args
        yield from self._expressions([node.func, *arguments, *(k.value for k in node.keywords)])

    def _children(self, node: ast.AST) -> Iterator[ast.AST]:
        for child in children(node):
            if isinstance(child, ast.expr):
                yield from self._expression(child)
            elif not isinstance(child, ast.arguments):
                yield from self._children(child)
            else:
                yield from self._expressions([*child.defaults, *child.kw_defaults])

    def _ends(self, node: ast.stmt) -> str | None:
        """Why nothing behind a statement runs (may be empty); None if something may."""
        if isinstance(node, ENDS):
            return ""
        if isinstance(node, ast.If):
            holds, why = self.truth.test(self.scope, node.test)
            ends = [
                None if holds is False else self._last(node.body),
                None if holds is True else self._last(node.orelse),
            ]
            if holds is not None:
                found = ends[0] if holds else ends[1]
                return None if found is None else found or why
            return None if None in ends else ends[0]
        if isinstance(node, ast.Try):
            if self._last(node.finalbody) is not None:
                return ""
            parts = [self._last([*node.body, *node.orelse]), *(self._last(h.body) for h in node.handlers)]
            return None if None in parts else ""
        return None

    def _last(self, statements: list[ast.stmt]) -> str | None:
        return next((why for s in statements if (why := self._ends(s)) is not None), None)

    def _dead(self, statements: list[ast.stmt], why: str) -> None:
        if statements:
            last = statements[-1].end_lineno or statements[-1].lineno
            found = self.truth.dead.setdefault(self.scope.path, [])
            found.append((statements[0].lineno, last, why))
