"""What names mean in source that is read, never imported: where they are defined, through imports, re-exports and
base classes, and which functions a call may reach."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache

import msgspec

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.source.tree import (
    DEFINITIONS,
    Located,
    Tree,
    children,
    find_definition,
    module_name,
    module_paths,
    source_digest,
    statements,
    walk,
)

MAX_HOPS = 12
PARTICULAR = 16  # letters that make a name too particular to stand twice by chance
Place = tuple[str, str]  # a file of the tree, and a name in it ("" for the module itself)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def resolve(tree: Tree, symbol: str) -> Located | None:
    """Find where `package.module:Class.method` is defined, through re-exports and inheritance within the tree.

    Where the class stands in the tree and the method on none of its bases there, the class is what is found.
    The result's `symbol` is the name that it has where it is defined.
    """
    module, _, qualname = symbol.partition(":")
    head, _, rest = qualname.partition(".")
    for path in module_files(tree, module):
        place = _definition(tree, (path, head), MAX_HOPS) if head else (path, "")
        if place is None:
            continue
        found = _member(tree, place, rest, MAX_HOPS) if rest else None
        return _located(tree, *(found or place))
    return None


class Index:
    """Every function and class below a folder by its last name, read on first use; inner ones are left out."""

    def __init__(self, tree: Tree, folder: str) -> None:
        self.tree, self.folder = tree, folder
        self._found: dict[str, list[Located]] | None = None

    def only(self, symbol: str) -> Located | None:
        """The one definition with the last name of `module:qualname`, in whichever module; None if none or several.

        A long last name is enough, since methods become functions; a short one must keep its class.
        """
        if self._found is None:
            self._found = defaultdict(list)
            for located in self._read():
                self._found[located.symbol.rpartition(":")[2].rpartition(".")[2]].append(located)
        qualname = symbol.rpartition(":")[2]
        last = qualname.rpartition(".")[2]
        found = self._found.get(last, [])
        if len(last) < PARTICULAR:
            found = [f for f in found if f.symbol.rpartition(":")[2] == qualname]
        return found[0] if len(found) == 1 else None

    def _read(self) -> Iterator[Located]:
        for path in self.tree.python_files:
            if not path.startswith(f"{self.folder}/"):
                continue
            try:
                module = self.tree.module(path)
            except SurfaceFailed:  # a file that does not parse defines nothing that can be pointed at
                continue
            for d in definitions(module):
                if not d.inner:
                    name = path.removesuffix(".py").replace("/", ".")
                    yield Located(path, d.node.lineno, f"{name}:{d.qualname}", source_digest(d.node))


def module_files(tree: Tree, module: str) -> list[str]:
    """The files that a dotted module name stands for in the tree."""
    return [p for p in module_paths(module) if module and tree.exists(p)]


def _located(tree: Tree, path: str, qualname: str) -> Located:
    module = tree.module(path)
    node = find_definition(module, qualname) if qualname else None
    symbol = f"{module_name(path)}:{qualname}" if qualname else module_name(path)
    return Located(path, node.lineno if node else 1, symbol, source_digest(node or module))


def _definition(tree: Tree, place: Place, hops: int) -> Place | None:
    """Where a top-level name of a file is defined, following imports inside the tree."""
    path, name = place
    module = tree.module(path)
    if find_definition(module, name) is not None:
        return place
    if hops == 0:
        return None
    for target_module, target_name in _imports(module, path, name):
        for file in module_files(tree, target_module):
            found = _definition(tree, (file, target_name), hops - 1) if target_name else (file, "")
            if found is not None:
                return found
    return None


def _imports(module: ast.Module, path: str, name: str) -> Iterator[Place]:
    """The (module, name) pairs that an import in this file may bind `name` to; name "" is the module itself."""
    for node in statements(module.body):
        if isinstance(node, ast.ImportFrom):
            source = imported_from(node, path)
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    yield source, alias.name
                    yield f"{source}.{alias.name}", ""
                elif alias.name == "*":
                    yield source, name
        elif isinstance(node, ast.Import):
            yield from ((a.name, "") for a in node.names if a.asname == name)


def imported_from(node: ast.ImportFrom, path: str) -> str:
    """The absolute name of the module that a `from … import` reads."""
    if node.level == 0:
        return node.module or ""
    package = path.split("/")[:-1]
    package = package[: len(package) - (node.level - 1)]
    return ".".join([*package, *([node.module] if node.module else [])])


def _member(tree: Tree, place: Place, rest: str, hops: int) -> Place | None:
    """Where `rest` of the class at `place` is defined: on itself, or on a base class within the tree."""
    path, name = place
    if find_definition(tree.module(path), f"{name}.{rest}" if name else rest) is not None:
        return path, f"{name}.{rest}" if name else rest
    node = find_definition(tree.module(path), name) if name else None
    if not isinstance(node, ast.ClassDef) or hops == 0:
        return None
    for base in node.bases:
        where = _base(tree, path, base, hops - 1)
        found = _member(tree, where, rest, hops - 1) if where else None
        if found is not None:
            return found
    return None


def _base(tree: Tree, path: str, base: ast.expr, hops: int) -> Place | None:
    """Where a base class, written as `Name` or `module.Name`, is defined."""
    if isinstance(base, ast.Subscript):
        base = base.value
    if isinstance(base, ast.Name):
        return _definition(tree, (path, base.id), hops)
    if isinstance(base, ast.Attribute) and isinstance(base.value, ast.Name):
        holder = _definition(tree, (path, base.value.id), hops)
        return _definition(tree, (holder[0], base.attr), hops) if holder and not holder[1] else None
    return None


class Defined(msgspec.Struct, frozen=True):
    """A function or class of a module. owner: the class that it stands in, if it is a member of one; inner: it stands
    inside a function."""

    qualname: str
    node: Function | ast.ClassDef
    owner: str = ""
    inner: bool = False


@lru_cache(maxsize=1024)
def definitions(module: ast.AST) -> tuple[Defined, ...]:
    """Every function and class, members and inner ones included, each before what stands in it."""

    def below(node: ast.AST, prefix: str, owner: str, inner: bool) -> Iterator[Defined]:
        for child in children(node):
            if isinstance(child, DEFINITIONS):
                yield Defined(prefix + child.name, child, owner, inner)
                is_class = isinstance(child, ast.ClassDef)
                yield from below(child, f"{prefix}{child.name}.", child.name if is_class else "", inner or not is_class)
            else:
                yield from below(child, prefix, owner, inner)

    return tuple(below(module, "", "", False))


def own_nodes(body: Iterable[ast.AST], leaving: tuple[type[ast.AST], ...] = DEFINITIONS) -> Iterator[ast.AST]:
    """The nodes of a body in order of the source, without those of the types `leaving` and what is in them."""
    stack = list(body)[::-1]
    while stack:
        node = stack.pop()
        if not isinstance(node, leaving):
            yield node
            stack.extend(children(node)[::-1])


def parameters(node: ast.AST) -> list[str]:
    """The named parameters of a function; of anything else, none."""
    given = getattr(node, "args", None)
    return [p.arg for p in (*given.posonlyargs, *given.args, *given.kwonlyargs)] if given else []


def arguments(call: ast.Call, node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Each parameter of a function with the expression that a call gives for it; `self` and `cls` are bound already."""
    names = parameters(node)
    names = names[1:] if names[:1] in (["self"], ["cls"]) else names
    yield from zip(names, (a for a in call.args if not isinstance(a, ast.Starred)), strict=False)
    yield from ((k.arg, k.value) for k in call.keywords if k.arg in names)


def last_name(node: ast.AST) -> str:
    """`c` of `a.b.c`, `x` of `x`; empty for anything else."""
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


class Module:
    """One module's names: what they are imported as, and its functions (methods as `Class.method`, no inner ones)."""

    def __init__(self, path: str, node: ast.Module) -> None:
        self.path, self.node = path, node
        self.imports = dict(self._imports())
        self.functions = {d.qualname: d.node for d in definitions(node) if isinstance(d.node, Function) and not d.inner}
        self.by_name: dict[str, list[str]] = defaultdict(list)
        for qualname in self.functions:
            self.by_name[qualname.rpartition(".")[2]].append(qualname)

    def dotted(self, node: ast.AST) -> str:
        """`a.b.c` of a name or attribute chain, with the first part as imported; empty for anything else."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return ""
        return ".".join([self.imports.get(node.id, node.id), *reversed(parts)])

    def _imports(self) -> Iterator[tuple[str, str]]:
        for node in walk(self.node):
            if isinstance(node, ast.Import):
                yield from (
                    (a.asname or a.name.split(".")[0], a.name if a.asname else a.name.split(".")[0]) for a in node.names
                )
            elif isinstance(node, ast.ImportFrom):
                source = imported_from(node, self.path)
                yield from ((a.asname or a.name, f"{source}.{a.name}") for a in node.names)


def called(modules: dict[str, Module], module: Module, call: ast.Call) -> list[tuple[Module, str]]:
    """The functions that a call in `module` may reach, as far as imports tell."""
    name = module.dotted(call.func)
    if name in module.functions:
        return [(module, name)]
    if isinstance(call.func, ast.Attribute) and name.split(".")[0] in ("self", "cls"):
        return [(module, q) for q in module.by_name.get(call.func.attr, []) if "." in q]
    package, _, function = name.rpartition(".")
    other = modules.get(package.replace(".", "/") + ".py")
    return [(other, function)] if other is not None and function in other.functions else []


def replaced_methods(modules: dict[str, ast.Module]) -> dict[tuple[str, str], str]:
    """Methods that a subclass in sight replaces without calling them: what they do plays no part in that subclass.

    By file and `Class.method`, the subclass.
    Classes are matched by name; a name that stands for two classes in sight is left out.
    """
    classes: dict[str, list[tuple[str, ast.ClassDef]]] = {}
    for path in sorted(modules):
        for node in modules[path].body:
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, []).append((path, node))
    found: dict[tuple[str, str], str] = {}
    for child in (c for places in classes.values() for _, c in places):
        for base in filter(None, map(last_name, child.bases)):
            if len(classes.get(base, ())) == 1:
                path, parent = classes[base][0]
                found |= {(path, f"{base}.{m}"): child.name for m in _replaced(parent, child)}
    return found


def _replaced(parent: ast.ClassDef, child: ast.ClassDef) -> list[str]:
    """The parent's methods that the child defines and reaches by no `super().method`, no special one."""
    own = {n.name for n in parent.body if isinstance(n, Function)}
    calls = (n for n in walk(child) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Call))
    own -= {n.attr for n in calls if last_name(n.value.func) == "super"}  # type: ignore[attr-defined]
    return [n.name for n in child.body if isinstance(n, Function) and n.name in own and not n.name.startswith("__")]
