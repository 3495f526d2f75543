"""Lazy modules: the tables from which they hand out names. Their `TYPE_CHECKING` twins can say something else."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import msgspec

from coordexp_audit_lib.source.tree import assigned, statements, text_of, walk

TABLES = ("_import_structure", "import_structure")


class Offers(msgspec.Struct, frozen=True):
    """names: of each name on offer, the module and the name in it. collected: packages whose modules' `__all__` are
    offered. opaque: `__getattr__` makes names in a way that is not read here."""

    names: dict[str, tuple[str, str]]
    collected: tuple[str, ...]
    opaque: bool


def offers(tree: ast.Module, module: str, is_package: bool) -> Offers:
    """The tables of `_LazyModule` and of a module's `__getattr__`."""
    body = statements(tree.body)
    package = module if is_package else module.rpartition(".")[0]
    names: dict[str, tuple[str, str]] = {}
    for node in body:
        for where, listed in _entries(node):
            names.update({n: (f"{package}.{where}", n) for n in listed})
    getattrs = [n for n in body if isinstance(n, ast.FunctionDef) and n.name == "__getattr__"]
    read = {n.id for g in getattrs for n in walk(g) if isinstance(n, ast.Name)}
    tables = [(t, n.value) for n in body for t in assigned(n) if t in read and isinstance(n.value, ast.Dict)]  # type: ignore[attr-defined]
    for _, table in tables:
        names.update(_table(table, package))
    return Offers(names, tuple(_collected(tree, package)), bool(getattrs) and not tables)


def _entries(node: ast.stmt) -> Iterator[tuple[str, list[str]]]:
    """(submodule, names) that a statement puts into an import structure."""
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        if isinstance(node.value, ast.Dict) and set(assigned(node)) & set(TABLES):
            for key, value in zip(node.value.keys, node.value.values, strict=True):
                if isinstance(key, ast.Constant):
                    yield str(key.value), _strings(value)
        elif isinstance(node, ast.Assign) and (where := _slot(node.targets[0])):
            yield where, _strings(node.value)
    elif isinstance(node, ast.AugAssign) and (where := _slot(node.target)):
        yield where, _strings(node.value)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        where = _slot(node.value.func.value)
        if where and node.value.func.attr in ("append", "extend") and node.value.args:
            yield where, _strings(node.value.args[0])


def _slot(node: ast.expr) -> str:
    """`x` of `_import_structure["x"]`."""
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in TABLES:
        return str(node.slice.value) if isinstance(node.slice, ast.Constant) else ""
    return ""


def _strings(node: ast.expr) -> list[str]:
    items = node.elts if isinstance(node, (ast.List, ast.Tuple, ast.Set)) else [node]
    return [text for text in map(text_of, items) if text is not None]


def _table(node: ast.Dict, package: str) -> dict[str, tuple[str, str]]:
    """`{"Name": ".module:Name"}`, and the forms without the name, or with both in a tuple."""
    names = {}
    for key, value in zip(node.keys, node.values, strict=True):
        parts = _strings(value)
        if isinstance(key, ast.Constant) and parts:
            where, _, attribute = parts[0].partition(":")
            name = str(key.value)
            full = f"{package}{where}" if where.startswith(".") else where
            names[name] = (full, attribute or (parts[1] if len(parts) > 1 else name))
    return names


def _collected(tree: ast.Module, package: str) -> Iterator[str]:
    """The packages that a call of `define_import_structure` collects."""
    for node in walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "define_import_structure":
            prefix = [text_of(k.value) for k in node.keywords if k.arg == "prefix"]
            yield f"{package}.{prefix[0]}" if any(prefix) else package
