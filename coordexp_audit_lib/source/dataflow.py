"""One data-flow engine over syntax trees: what the names of a piece of code may stand for. Nothing is imported or run.

`Flow` follows statements in order, joins what branches leave, and remembers what a statement depends on (`under`).
A subclass says what values are (`nothing`, `join`) and what expressions mean: `of_Call`, `of_Attribute`, …
`sweep` takes the same bindings from all nodes, whatever their order. `Summaries` carry values across functions.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from coordexp_audit_lib.source.tree import children

V = TypeVar("V", bound=Hashable)
LEAVING = (ast.Return, ast.Continue, ast.Break)
GONE = (ast.Return, ast.Raise)  # what a name stands for there does not reach the next statement


class Guard(msgspec.Struct, frozen=True):
    """Why a statement is reached by some runs only, by the value of a condition.

    how: `branch` (under the condition), `return` or `skip` (others left the function, or the round of a loop, before).
    """

    how: str
    line: int
    value: Any


class Flow(Generic[V]):
    """Follows one piece of code. names: what each local name may stand for; under: the guards of this statement.

    A statement of type `X` is followed by `do_X`, an expression valued by `of_X`; for others their parts decide. `do_X`
    returns the guards of what comes after it in its block.
    """

    nothing: V
    rounds = 2  # a loop's body is followed so often, for what its end says about its beginning

    def __init__(self) -> None:
        self.names: dict[str, V] = {}
        self.under: tuple[Guard, ...] = ()
        self.line = 0

    def join(self, parts: Iterable[V]) -> V:
        """The value of something that may be any of these."""
        raise NotImplementedError

    # -- what a subclass may be told --------------------------------------------------------------------------------

    def assign(self, name: str, value: V, source: ast.expr | None) -> None:
        """A name is bound to a value, which `source` made."""
        self.names[name] = value

    def assign_attribute(self, name: str, value: V, source: ast.expr | None) -> None:
        """An attribute of something is set."""

    def assign_item(self, holder: str, value: V) -> None:
        """An item of what a name stands for is set."""
        self.names[holder] = self.join((value, self.names.get(holder, self.nothing)))

    def returned(self, value: V) -> None:
        """The code returns a value."""

    def items(self, value: V) -> V:
        """What a loop over a value hands out."""
        return value

    def splits(self, node: ast.If) -> bool:
        """Whether it matters which branch is taken."""
        return True

    def defines(self, node: ast.stmt) -> None:
        """A function or class is defined here; by default it is followed on its own."""

    # -- statements -------------------------------------------------------------------------------------------------

    def block(self, body: Iterable[ast.stmt]) -> tuple[Guard, ...]:
        """Follow statements. Returns why some runs have left by their end."""
        around, left = self.under, tuple[Guard, ...]()
        for node in body:
            self.line = node.lineno
            left = (*left, *(getattr(self, f"do_{type(node).__name__}", self.do_other)(node) or ()))
            self.under = (*around, *left)
        self.under = around
        return left

    def do_other(self, node: ast.stmt) -> None:
        for child in children(node):
            if isinstance(child, ast.expr):
                self.value(child)

    def do_Assign(self, node: ast.Assign) -> None:
        value = self.value(node.value)
        for target in node.targets:
            self.bind(target, value, node.value)

    def do_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.bind(node.target, self.value(node.value), node.value)

    def do_AugAssign(self, node: ast.AugAssign) -> None:
        self.bind(node.target, self.join((self.value(node.value), self.value(node.target))), None)

    def do_Return(self, node: ast.Return) -> None:
        self.returned(self.value(node.value))

    def do_If(self, node: ast.If) -> tuple[Guard, ...]:
        test = self.value(node.test)
        left = self.branches(
            (node.body, node.orelse), self.guard("branch", node.lineno, test) if self.splits(node) else ()
        )
        last = [part[-1] for part in (node.body, node.orelse) if part and isinstance(part[-1], LEAVING)]
        how = "return" if last and isinstance(last[0], ast.Return) else "skip"
        return (*left, *(self.guard(how, node.lineno, test) if len(last) == 1 else ()))

    def do_For(self, node: ast.For | ast.AsyncFor) -> tuple[Guard, ...]:
        return self.loop(node, self.bind_items(node))

    def do_While(self, node: ast.While) -> tuple[Guard, ...]:
        return self.loop(node, self.value(node.test))

    def loop(self, node: ast.For | ast.AsyncFor | ast.While, head: V) -> tuple[Guard, ...]:
        """What leaves only the round is over after the loop."""
        left = tuple[Guard, ...]()
        for _ in range(self.rounds):
            left = self.branches((node.body, []), self.guard("branch", node.lineno, head))
        left = (*left, *self.block(node.orelse))
        return tuple(g for g in left if g.how == "return")

    def do_Match(self, node: ast.Match) -> tuple[Guard, ...]:
        guard = self.guard("branch", node.lineno, self.value(node.subject))
        return self.branches((*(case.body for case in node.cases), []), guard)

    def do_With(self, node: ast.With | ast.AsyncWith) -> tuple[Guard, ...]:
        for item in node.items:
            value = self.value(item.context_expr)
            if item.optional_vars is not None:
                self.bind(item.optional_vars, value, item.context_expr)
        return self.block(node.body)

    def do_Try(self, node: ast.Try) -> tuple[Guard, ...]:
        before = dict(self.names)
        left = self.block([*node.body, *node.orelse])
        broken = self.merged([before, self.names])
        ends = [] if _ends(node.orelse or node.body) else [self.names]
        for handler in node.handlers:
            self.names = dict(broken)
            left = (*left, *self.block(handler.body))
            ends += [] if _ends(handler.body) else [self.names]
        self.names = self.merged(ends or [broken])
        return (*left, *self.block(node.finalbody))

    def do_FunctionDef(self, node: ast.stmt) -> None:
        self.defines(node)

    do_AsyncFor, do_AsyncWith, do_TryStar = do_For, do_With, do_Try
    do_AsyncFunctionDef = do_ClassDef = do_FunctionDef

    def branches(self, bodies: Sequence[list[ast.stmt]], guard: tuple[Guard, ...] = ()) -> tuple[Guard, ...]:
        """Follow each body from the same start, under the guard; a name then stands for what any of them left."""
        around, before, left, ends = self.under, self.names, tuple[Guard, ...](), []
        self.under = (*around, *guard)
        for body in bodies:
            self.names = dict(before)
            left = (*left, *self.block(body))
            ends += [] if _ends(body) else [self.names]
        self.under, self.names = around, self.merged(ends or [before])
        return left

    def merged(self, ends: Sequence[dict[str, V]]) -> dict[str, V]:
        return {n: self.join(e.get(n, self.nothing) for e in ends) for n in dict.fromkeys(n for e in ends for n in e)}

    def guard(self, how: str, line: int, value: V) -> tuple[Guard, ...]:
        return () if value == self.nothing else (Guard(how, line, value),)

    # -- what binds a name ------------------------------------------------------------------------------------------

    def bind(self, target: ast.expr, value: V, source: ast.expr | None) -> None:
        if isinstance(target, ast.Name):
            self.assign(target.id, value, source)
        elif isinstance(target, ast.Attribute):
            self.assign_attribute(target.attr, value, source)
        elif isinstance(target, (ast.Tuple, ast.List)):
            for part in target.elts:
                self.bind(part, value, source)
        elif isinstance(target, ast.Starred):
            self.bind(target.value, value, source)
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            self.assign_item(target.value.id, value)

    def bind_items(self, node: ast.For | ast.AsyncFor | ast.comprehension) -> V:
        """The head of a loop or comprehension. Returns the value of what it loops over."""
        value = self.value(node.iter)
        self.bind(node.target, self.items(value), node.iter)
        return value

    def sweep(self, nodes: Iterable[ast.AST]) -> None:
        """Take every binding and result among the nodes, whatever their order."""
        for node in nodes:
            if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr, ast.Return)):
                getattr(self, f"{'of' if isinstance(node, ast.NamedExpr) else 'do'}_{type(node).__name__}")(node)
            elif isinstance(node, (ast.For, ast.comprehension)):
                self.bind_items(node)

    # -- expressions ------------------------------------------------------------------------------------------------

    def value(self, node: ast.AST | None) -> V:
        """What an expression may stand for."""
        if node is None:
            return self.nothing
        found: V = getattr(self, f"of_{type(node).__name__}", self.of_other)(node)
        return found

    def of_other(self, node: ast.AST) -> V:
        return self.join([self.value(child) for child in children(node)])

    def of_Constant(self, node: ast.Constant) -> V:
        return self.nothing

    def of_Lambda(self, node: ast.Lambda) -> V:
        return self.nothing

    def of_Name(self, node: ast.Name) -> V:
        return self.names.get(node.id, self.nothing)

    def of_NamedExpr(self, node: ast.NamedExpr) -> V:
        value = self.value(node.value)
        self.bind(node.target, value, node.value)
        return value

    def of_IfExp(self, node: ast.IfExp) -> V:
        return self.guarded(node, node.test, (node.body, node.orelse))

    def of_BoolOp(self, node: ast.BoolOp) -> V:
        around, found = self.under, []
        for part in node.values:
            found.append(self.value(part))
            self.under = (*self.under, *self.guard("branch", node.lineno, found[-1]))
        self.under = around
        return self.join(found)

    def guarded(self, node: ast.expr, test: ast.expr, parts: Sequence[ast.expr]) -> V:
        """The value of parts that are reached under a test."""
        around = self.under
        self.under = (*around, *self.guard("branch", node.lineno, self.value(test)))
        found = self.join([self.value(part) for part in parts])
        self.under = around
        return found

    def of_comprehension(self, node: Any) -> V:
        around = dict(self.names)
        for generator in node.generators:
            self.bind_items(generator)
            for test in generator.ifs:
                self.value(test)
        parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        value = self.join([self.value(part) for part in parts])
        self.names = around
        return value

    of_ListComp = of_SetComp = of_GeneratorExp = of_DictComp = of_comprehension


def _ends(body: Sequence[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], GONE)


class Summaries(Generic[V]):
    """What is known across functions: the value of each parameter and of each result. It only grows."""

    def __init__(self, join: Callable[[Iterable[V]], V], nothing: V) -> None:
        self._join, self._nothing = join, nothing
        self._parameters: dict[tuple[str, str], V] = {}
        self._results: dict[str, V] = {}

    def parameter(self, function: str, name: str) -> V:
        return self._parameters.get((function, name), self._nothing)

    def result(self, function: str) -> V:
        return self._results.get(function, self._nothing)

    def give(self, function: str, name: str, value: V) -> bool:
        """A call gives a parameter a value. Returns whether that says anything new."""
        old = self.parameter(function, name)
        self._parameters[function, name] = self._join((old, value))
        return self._parameters[function, name] != old

    def returned(self, function: str, value: V) -> bool:
        """A function returns a value. Returns whether that says anything new."""
        old = self.result(function)
        self._results[function] = self._join((old, value))
        return self._results[function] != old
