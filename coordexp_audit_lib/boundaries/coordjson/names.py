"""What the modules of a tree define and import, and what is known about their functions' texts."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

CLEAN, LITERAL, TRANSPILED, RAW = range(4)
TRANSPILERS = frozenset({"coordjson_to_strict_json", "coordjson_to_strict_json_with_meta", "parse_coordjson"})
READER_NAME = re.compile(r"(?:parse|load|extract|salvage|read|decode).*(?:prediction|assistant|coordjson|rollout_text)")

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module:
    """One module: what its names mean and which functions it defines (methods as `Class.method`)."""

    def __init__(self, path: str, tree: ast.Module) -> None:
        self.path, self.tree = path, tree
        self.imports = dict(_imports(tree))
        self.functions: dict[str, Function] = dict(_functions(tree.body, ""))
        self.by_name: dict[str, list[str]] = {}
        for qualname in self.functions:
            self.by_name.setdefault(qualname.rsplit(".", 1)[-1], []).append(qualname)
        self.reads_assistant = any(READER_NAME.search(name) for name in [*self.imports, *self.by_name])
        self.is_transpiler = any(name in TRANSPILERS for name in self.functions)

    def dotted(self, node: ast.AST) -> str:
        """`a.b.c` of a name or attribute chain, with the first part as imported; empty for anything else."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        return ".".join([self.imports.get(node.id, node.id), *reversed(parts)])


def _imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield (name.asname or name.name.split(".")[0], name.name if name.asname else name.name.split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            for name in node.names:
                yield (name.asname or name.name, f"{node.module or ''}.{name.name}")


def _functions(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, Function]]:
    for node in body:
        if isinstance(node, Function):
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, (ast.If, ast.Try)):
            yield from _functions([*node.body, *node.orelse], prefix)


class Knowledge:
    """What is known across functions: the state of each parameter and of each result. It only grows.

    stale: the modules that were followed before something that they use was learnt.
    """

    def __init__(self, modules: dict[str, Module]) -> None:
        self.modules = modules
        self.stale = set(modules)
        self._parameters: dict[tuple[str, str, str], int] = {}
        self._results: dict[tuple[str, str], int] = {}
        self._users: dict[str, set[str]] = {}

    def parameter(self, module: Module, qualname: str, name: str) -> int:
        return self._parameters.get((module.path, qualname, name), CLEAN)

    def result(self, module: Module, qualname: str) -> int:
        return self._results.get((module.path, qualname), CLEAN)

    def resolve(self, module: Module, call: ast.Call) -> list[tuple[Module, str]]:
        """The functions that a call may reach, as far as names tell."""
        name = module.dotted(call.func)
        if name in module.functions:
            return [(module, name)]
        if isinstance(call.func, ast.Attribute) and name.split(".")[0] in ("self", "cls"):
            return [(module, q) for q in module.by_name.get(call.func.attr, []) if "." in q]
        package, _, function = name.rpartition(".")
        other = self.modules.get(package.replace(".", "/") + ".py")
        if other is None or function not in other.functions:
            return []
        self._users.setdefault(other.path, set()).add(module.path)
        return [(other, function)]

    def meet(self, module: Module, qualname: str, states: list[int], named: dict[str, int]) -> None:
        """Remember with which states a function was called."""
        arguments = module.functions[qualname].args
        names = [a.arg for a in [*arguments.posonlyargs, *arguments.args]]
        if names[:1] in (["self"], ["cls"]):
            names = names[1:]
        for name, state in {**dict(zip(names, states, strict=False)), **named}.items():
            if state > self.parameter(module, qualname, name):
                self._parameters[module.path, qualname, name] = state
                self.stale.add(module.path)

    def returned(self, module: Module, qualname: str, state: int) -> None:
        """Remember in which state a function's result can be."""
        if state > self.result(module, qualname):
            self._results[module.path, qualname] = state
            self.stale |= {module.path, *self._users.get(module.path, ())}
