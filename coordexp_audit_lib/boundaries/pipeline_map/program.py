"""Several modules read together: calls, attributes and returned values link their functions."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable

from coordexp_audit_lib.boundaries.pipeline_map.origins import (
    MAX_DEPTH,
    MAX_ORIGINS,
    TAKES,
    Chain,
    Function,
    Step,
    functions_of,
    own_nodes,
)
from coordexp_audit_lib.boundaries.pipeline_map.reader import FunctionReader

ROUNDS = 3  # a value passes through at most so many functions, attributes or returns before it is used


class Program:
    """Several modules, read together."""

    def __init__(self, modules: dict[str, ast.Module]) -> None:
        self.functions = [f for path in sorted(modules) for f in functions_of(path, modules[path])]
        self.by_name: dict[str, list[Function]] = defaultdict(list)
        for f in self.functions:
            self.by_name[f.qualname.split(".")[-1]].append(f)
        self.bodies = {f.id: list(own_nodes(f)) for f in self.functions}
        self.passed: dict[str, set[Chain]] = defaultdict(set)  # "$function:parameter" -> origins of arguments
        self.attributes: dict[str, set[Chain]] = defaultdict(set)  # attribute set somewhere -> origins of its value
        self.steps: list[Step] = []
        self.around = {f.id: self._around(f) for f in self.functions}
        readers = [FunctionReader(self, f) for f in self.functions]
        for _ in range(ROUNDS):
            for reader in readers:
                reader.learn()
        for reader in readers:
            reader.note_open_steps()
        for reader in readers:
            self.steps += reader.steps()

    def _around(self, function: Function) -> list[Function]:
        """The functions that enclose one, innermost first, and last the module's body."""
        same = [f for f in self.functions if f.path == function.path and f is not function]
        inner = [f for f in same if function.qualname.startswith(f.qualname + ".")]
        return sorted(inner, key=lambda f: -len(f.qualname)) + [f for f in same if f.qualname == "<module>"]

    def callees(self, call: ast.Call, caller: Function) -> list[Function]:
        """The functions in sight that a call may reach: by name, narrowed by the class it is called on."""
        func = call.func
        if isinstance(func, ast.Name):
            made = [f for f in self.by_name.get("__init__", []) if f.owner == func.id]
            return made or [f for f in self.by_name.get(func.id, []) if not f.owner]
        if not isinstance(func, ast.Attribute) or func.attr in TAKES:
            return []
        found = self.by_name.get(func.attr, [])
        if isinstance(func.value, ast.Name):
            owner = caller.owner if func.value.id == "cls" else func.value.id
            own = [f for f in found if f.owner == owner]
            if own or owner != func.value.id or func.value.id[:1].isupper():
                return own
        return found if len(found) <= 4 else []

    def resolved(self, origins: Iterable[Chain], depth: int = 0) -> set[Chain]:
        """Origins with the parameters at their head replaced by what calls pass for them."""
        found: set[Chain] = set()
        for chain in origins:
            if not chain or not chain[0].startswith("$"):
                found.add(chain)
                continue
            passed = self.passed.get(chain[0], set())
            found.add(chain[1:])
            if depth < MAX_DEPTH:
                for head in sorted(self.resolved(sorted(passed)[:MAX_ORIGINS], depth + 1)):
                    found.add((*head, *chain[1:]))
        return found
