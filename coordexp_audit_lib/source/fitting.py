"""Whether a tree's modules fit each other: what one imports of another is there, and a call of the tree's own function
can be bound to its parameters. Read from source; what can't be told from source is passed over."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

import msgspec

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.source.broken import Broken
from coordexp_audit_lib.source.names import Function, imported_from, module_files, own_nodes
from coordexp_audit_lib.source.tree import DEFINITIONS, Tree, children, find_definition, statements

HOPS = 8
Target = tuple[str, Function]


class Fitting:
    """One reading of a tree: bindings of modules are kept."""

    def __init__(self, tree: Tree, folders: tuple[str, ...]) -> None:
        self.tree, self.folders = tree, folders
        self.imports = self.calls = 0

    def misfits(self, path: str) -> Iterator[Broken]:
        """Those of a module. What it can do without (an import in a `try`, one for type checkers) is passed over."""
        module = self.tree.module(path)
        yield from self._imports(module, path)
        yield from self._calls(module, path)

    def _imports(self, module: ast.Module, path: str) -> Iterator[Broken]:
        for node, symbol in _unspared(module, ""):
            if not isinstance(node, ast.ImportFrom):
                continue
            source = imported_from(node, path)
            if source.split(".")[0] not in self.folders:
                continue
            files = module_files(self.tree, source)
            is_folder = (self.tree.root / source.replace(".", "/")).is_dir()
            if not files and not is_folder:
                self.imports += 1
                message = f"imports from {source}, which is not in the tree"
                yield Broken("import", path, node.lineno, symbol, source, message)
                continue
            for alias in node.names:
                if alias.name == "*":
                    continue
                self.imports += 1
                if self._is_module(f"{source}.{alias.name}") or not files or self._gives(files[0], alias.name, HOPS):
                    continue
                message = f"imports {alias.name!r} from {source}, which has no such name"
                yield Broken("import", path, node.lineno, symbol, f"{source}:{alias.name}", message)

    def _is_module(self, dotted: str) -> bool:
        return bool(module_files(self.tree, dotted)) or (self.tree.root / dotted.replace(".", "/")).is_dir()

    def _gives(self, path: str, name: str, hops: int) -> bool:
        """Whether importing `name` from the module of that file may succeed."""
        try:
            module = self.tree.module(path)
        except SurfaceFailed:
            return True  # that it is no Python is told elsewhere
        top = _top(module)
        known = name in top.stored or name in top.other or name.startswith("__")
        return known or top.open_ended or hops == 0

    def _calls(self, module: ast.Module, path: str) -> Iterator[Broken]:
        for scope in scopes_of(module):
            for node in scope.calls:
                found = self._callee(node.func, module, path, scope)
                if found is None:
                    continue
                name, function, bound = found
                self.calls += 1
                wrong = unbindable(node, function, bound)
                if wrong:
                    yield Broken("call", path, node.lineno, scope.symbol, name, f"calls {name}, {wrong}")

    def _callee(self, func: ast.expr, module: ast.Module, path: str, scope: Scope) -> tuple[str, Function, bool] | None:
        """The tree's own undecorated function that is called, and whether its first parameter is already bound."""
        if isinstance(func, ast.Name) and func.id not in scope.hidden:
            place = self._function(path, func.id, HOPS)
            return (func.id, place[1], False) if place else None
        if (
            isinstance(func, ast.Attribute)
            and isinstance(func.value, ast.Name)
            and func.value.id == "self"
            and scope.owner
        ):
            holder = find_definition(module, scope.owner)
            own = [n for n in getattr(holder, "body", []) if getattr(n, "name", "") == func.attr]
            if len(own) == 1 and isinstance(own[0], Function):
                static = [getattr(x, "id", "") for x in own[0].decorator_list]
                if static in ([], ["staticmethod"], ["classmethod"]):
                    return f"self.{func.attr}", own[0], static != ["staticmethod"]
        return None

    def _function(self, path: str, name: str, hops: int) -> Target | None:
        try:
            module = self.tree.module(path)
        except SurfaceFailed:
            return None
        top = _top(module)
        nodes, came = top.defined.get(name, []), top.imported.get(name, [])
        if name in top.stored or len(nodes) + len(came) != 1:
            return None  # several definitions: which of them it is, hangs on more than source
        if nodes:
            only = nodes[0]
            return (path, only) if isinstance(only, Function) and not only.decorator_list else None
        source, original = imported_from(came[0][0], path), came[0][1]
        if hops == 0 or source.split(".")[0] not in self.folders:
            return None
        files = module_files(self.tree, source)
        return self._function(files[0], original, hops - 1) if files else None


def unbindable(call: ast.Call, function: Function, bound: bool) -> str:
    """Why a call's arguments can't be bound to the parameters; empty where they can, or where that can't be told."""
    given = [k.arg for k in call.keywords]
    starred = any(isinstance(a, ast.Starred) for a in call.args)
    spec = function.args
    positional = [a.arg for a in (*spec.posonlyargs, *spec.args)][int(bound) :]
    by_name = {a.arg for a in (*spec.args, *spec.kwonlyargs)}
    unknown = [k for k in given if k is not None and k not in by_name]
    if unknown and spec.kwarg is None:
        return f"which has no parameter {unknown[0]!r}"
    if not starred and spec.vararg is None and len(call.args) > len(positional):
        return f"which takes {len(positional)} positional arguments, with {len(call.args)}"
    if starred or None in given:
        return ""
    required = positional[: len(positional) - len(spec.defaults)] if spec.defaults else positional
    filled = set(positional[: len(call.args)]) | set(given)
    required = [*required, *(a.arg for a, d in zip(spec.kwonlyargs, spec.kw_defaults, strict=True) if d is None)]
    missing = [name for name in required if name not in filled]
    return f"without its required {missing[0]!r}" if missing else ""


def _unspared(node: ast.AST, symbol: str) -> Iterator[tuple[ast.stmt, str]]:
    """Every statement that runs if the code around it does, with the dotted name of what holds it: not what stands in a
    `try`, in a handler or under a test for type checkers."""
    for child in children(node):
        if not isinstance(child, ast.stmt) or isinstance(child, ast.Try):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child, symbol
        name = getattr(child, "name", "")
        yield from _unspared(child, f"{symbol}.{name}".lstrip(".") if name else symbol)


class Top(msgspec.Struct):
    """What may be bound at a module's top: definitions and imports by name, names stored to anywhere in it."""

    defined: dict[str, list[ast.stmt]]
    imported: dict[str, list[tuple[ast.ImportFrom, str]]]
    stored: set[str]
    other: set[str]
    open_ended: bool = False


@lru_cache(maxsize=1024)
def _top(module: ast.Module) -> Top:
    top = Top({}, {}, set(), set())
    for statement in statements(module.body):
        if isinstance(statement, DEFINITIONS):
            top.defined.setdefault(statement.name, []).append(statement)
        elif isinstance(statement, ast.ImportFrom):
            for a in statement.names:
                top.imported.setdefault(a.asname or a.name, []).append((statement, a.name))
    for node in own_nodes(module.body, leaving=()):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            top.stored.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            top.other.update((a.asname or a.name.split(".")[0]) for a in node.names)
        elif isinstance(node, DEFINITIONS):
            top.other.add(node.name)
        top.open_ended = top.open_ended or _opens(node)
    return top


def _opens(node: ast.AST) -> bool:
    """Whether a statement may give a module names that are not written in it."""
    if isinstance(node, ast.ImportFrom):
        return any(a.name == "*" for a in node.names)
    if isinstance(node, ast.Attribute):
        return node.attr == "modules" and getattr(node.value, "id", "") == "sys"
    if isinstance(node, ast.Call):
        return getattr(node.func, "id", "") in ("globals", "setattr", "exec")
    return isinstance(node, DEFINITIONS) and node.name == "__getattr__"


class Scope(msgspec.Struct):
    """A function: calls in its own body; hidden: names that it, or a function around it, may bind itself, which the
    module does not decide; owner: the class that it is a method of."""

    symbol: str
    owner: str
    calls: list[ast.Call]
    bound: set[str]
    around: Scope | None = None

    @property
    def hidden(self) -> set[str]:
        return self.bound | self.around.hidden if self.around else self.bound


def scopes_of(module: ast.Module) -> list[Scope]:
    """The functions of a module, inner ones apart from those around them, and last its top level."""
    found: list[Scope] = []
    top = Scope("", "", [], set())
    _scan(module, top, None, found)
    return [*found, Scope("", "", top.calls, set())]


def _scan(node: ast.AST, scope: Scope, around: Scope | None, found: list[Scope]) -> None:
    """around: the function whose names an inner one sees; none at the top and right inside a class of it."""
    for child in children(node):
        name = f"{scope.symbol}.{getattr(child, 'name', '')}".lstrip(".")
        if isinstance(child, Function):
            scope.bound.add(child.name)
            owner = scope.symbol if isinstance(node, ast.ClassDef) else scope.owner
            inner = Scope(name, owner, [], set(), around)
            _scan(child, inner, inner, found)
            found.append(inner)
            continue
        if isinstance(child, ast.ClassDef):
            scope.bound.add(child.name)
            _scan(child, Scope(name, "", scope.calls, set()), around, found)
            continue
        if isinstance(child, ast.Call):
            scope.calls.append(child)
        elif isinstance(child, ast.Name) and not isinstance(child.ctx, ast.Load):
            scope.bound.add(child.id)
        elif isinstance(child, ast.arguments):
            scope.bound |= {a.arg for a in _every(child)}
        elif isinstance(child, ast.Import | ast.ImportFrom):
            scope.bound |= {a.asname or a.name for a in child.names}
        _scan(child, scope, around, found)


def _every(spec: ast.arguments) -> list[ast.arg]:
    return [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, *(a for a in (spec.vararg, spec.kwarg) if a)]
