"""Where a name of a tree is really defined: follows imports and base classes in the source, never imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from coordexp_audit_lib.source.tree import Located, Tree, find_definition, source_digest, statements

MAX_HOPS = 12
Place = tuple[str, str]  # a file of the tree, and a name in it ("" for the module itself)


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


def module_files(tree: Tree, module: str) -> list[str]:
    """The files that a dotted module name stands for: a package before a module of the same name, as Python has it."""
    base = module.replace(".", "/")
    return [p for p in (f"{base}/__init__.py", f"{base}.py") if base and tree.exists(p)]


def module_name(path: str) -> str:
    """The dotted name of a file of the tree."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


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
            source = _source(node, path)
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    yield source, alias.name
                    yield f"{source}.{alias.name}", ""
                elif alias.name == "*":
                    yield source, name
        elif isinstance(node, ast.Import):
            yield from ((a.name, "") for a in node.names if a.asname == name)


def _source(node: ast.ImportFrom, path: str) -> str:
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
