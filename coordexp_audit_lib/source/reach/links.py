"""Who calls what in the code that runs, with which arguments: what a call graph's shortest paths do not keep."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from coordexp_audit_lib.source.names import Function, arguments
from coordexp_audit_lib.source.reach.program import External, Node
from coordexp_audit_lib.source.reach.settings import Known
from coordexp_audit_lib.source.reach.small import defaults
from coordexp_audit_lib.source.reach.truth import Truth

Calls = tuple[Node, ...]  # each calls the next


class Links:
    """Every edge of a graph, the names that a node reads from objects, and the live calls of functions by name."""

    def __init__(self, truth: Truth) -> None:
        self.truth, self.program = truth, truth.program
        self._next: dict[Node, dict[Node, None]] = {}
        self._read: dict[Node, set[str]] = {}
        self._calls: dict[Node, list[tuple[Node, ast.Call]]] = {}

    def add(self, by: Node | None, node: Node) -> None:
        if by is not None:
            self._next.setdefault(by, {})[node] = None

    def read(self, node: Node, name: str) -> None:
        self._read.setdefault(node, set()).add(name)

    def called(self, node: Node, call: ast.Call) -> None:
        for meaning in self.program.value(node, call.func):
            if not isinstance(meaning, External):
                self._calls.setdefault(meaning, []).append((node, call))

    def callers(self, function: Node, given: Mapping[str, Any], seen: frozenset[Node] = frozenset()) -> list[Calls]:
        """Who calls a function with arguments that have the given values, or may have: each as the calls that hand the
        values on, from the one that writes them down. Those that write them down come first, then the fewest calls."""
        found: list[tuple[bool, Calls]] = []
        for caller, call in self._calls.get(function, []):
            ways: list[tuple[bool, Calls]] = [(True, ())]
            for named in given.items():
                here = self._ways(caller, call, function, named, seen)
                ways = [(sure and certain, way or before) for sure, before in ways for certain, way in here]
            found += ((sure, way or (caller,)) for sure, way in ways)
        told = sorted(found, key=lambda f: (not f[0], len(f[1])))
        return list(dict.fromkeys(way for _, way in told))

    def _ways(
        self, caller: Node, call: ast.Call, function: Node, named: tuple[str, Any], seen: frozenset[Node]
    ) -> list[tuple[bool, Calls]]:
        """How a call comes to give an argument of that name that value, and whether it surely does; none if it can't.

        An argument that the caller was given itself is looked for in that one's callers.
        """
        name, value = named
        definition = next((d.node for d in self.program.defined(function) if isinstance(d.node, Function)), None)
        if definition is None or any(k.arg is None for k in call.keywords):
            return [(False, ())]
        passed = {**defaults(definition), **dict(arguments(call, definition))}.get(name)
        if passed is None:
            return [(False, ())]
        found = self.truth.value(caller, passed)
        if isinstance(found, Known):
            return [(True, ())] if found.value == value else []
        if not isinstance(passed, ast.Name) or self.program.bindings(caller).get(passed.id) != [None]:
            return [(False, ())]
        if caller in seen or not self._calls.get(caller):
            return [(False, ())]
        return [(True, (*way, caller)) for way in self.callers(caller, {passed.id: value}, seen | {function})]

    def onward(self, start: Node, end: Node, reaches: Callable[[Node], bool]) -> list[Node]:
        """The nodes behind `start` on a shortest way to `end`; empty where there is none."""
        by_name: dict[str, list[Node]] = {}
        for node in {n for after in self._next.values() for n in after}:
            by_name.setdefault(node.name.rpartition(".")[2], []).append(node)
        before: dict[Node, Node] = {}
        waiting = deque([start])
        while waiting and end not in before:
            node = waiting.popleft()
            named = (n for name in sorted(self._read.get(node, ())) for n in sorted(by_name.get(name, ())))
            for after in (*self._next.get(node, ()), *named):
                if after != start and after not in before and reaches(after):
                    before[after] = node
                    waiting.append(after)
        steps: list[Node] = []
        while end in before:
            steps.append(end)
            end = before[end]
        return steps[::-1]
