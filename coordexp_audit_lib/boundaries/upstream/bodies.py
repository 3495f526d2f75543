"""Contracts without a signature: what stands in a body. Routes, payload keys, mode literals, rows of a tensor."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from coordexp_audit_lib.source.tree import statements

Function = ast.FunctionDef | ast.AsyncFunctionDef
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def words(node: ast.AST, wanted: Iterable[str]) -> list[str]:
    """Those of the wanted strings that are constants in the node, parts of f-strings included, docstrings not."""
    if not (wanted := set(wanted)):
        return []
    there = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return sorted(wanted & (there - _docstrings(node)))


def _docstrings(node: ast.AST) -> set[str]:
    """Strings that stand as statements, which is how docstrings and commented-out text look."""
    return {
        n.value.value
        for n in ast.walk(node)
        if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant) and isinstance(n.value.value, str)
    }


def expressions(node: ast.AST, wanted: Iterable[str]) -> list[str]:
    """Those of the wanted expressions that stand in the node, however they are laid out."""
    found = []
    for text in wanted:
        form = ast.parse(text, mode="eval").body
        if any(type(n) is type(form) and _same(n, form) for n in ast.walk(node)):
            found.append(text)
    return sorted(found)


def _same(a: object, b: object) -> bool:
    if isinstance(a, ast.AST) and isinstance(b, ast.AST):
        names = [f for f in a._fields if f != "ctx"]
        return type(a) is type(b) and all(_same(getattr(a, f, None), getattr(b, f, None)) for f in names)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b) and a == b


def keys(tree: ast.AST, name: str, wanted: Iterable[str]) -> list[str]:
    """Those of the wanted keys that the mapping `name` gets at the top of a module or class body."""
    there: set[str] = set()
    for node in statements(getattr(tree, "body", [])):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        for target in targets:
            if isinstance(target, ast.Name) and target.id == name and isinstance(value, ast.Dict):
                there |= {k.value for k in value.keys if isinstance(k, ast.Constant) and isinstance(k.value, str)}
            elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name) and target.value.id == name:
                there |= {k.value for k in [target.slice] if isinstance(k, ast.Constant) and isinstance(k.value, str)}
    return sorted(set(wanted) & there)


def uses_first_parameter(node: ast.AST) -> bool:
    """Whether a function's body reads its first parameter, so that it cannot be called with None for `self`."""
    first = [
        *getattr(getattr(node, "args", None), "posonlyargs", []),
        *getattr(getattr(node, "args", None), "args", []),
    ]
    body = getattr(node, "body", [])
    return bool(first) and any(isinstance(n, ast.Name) and n.id == first[0].arg for s in body for n in ast.walk(s))


def handed_on(node: ast.AST) -> Iterator[ast.Call]:
    """The calls that hand the function's own `**kwargs` on."""
    rest = getattr(getattr(node, "args", None), "kwarg", None)
    name = rest.arg if rest else ""
    for n in ast.walk(node) if name else ():
        if isinstance(n, ast.Call) and any(k.arg is None and ast.unparse(k.value) == name for k in n.keywords):
            yield n


def handed_to_super(node: ast.AST) -> list[ast.Call]:
    """Those of them that call the same method of the next class."""
    name = getattr(node, "name", "")
    return [c for c in handed_on(node) if ast.unparse(c.func).startswith("super(") and _called(c) == name]


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def own_keywords(node: ast.AST) -> list[str]:
    """The keywords that are given beside the `**kwargs` handed to `super()`, or that a dict update puts into them."""
    own = {k.arg for c in handed_to_super(node) for k in c.keywords if k.arg is not None}
    return sorted(own)
