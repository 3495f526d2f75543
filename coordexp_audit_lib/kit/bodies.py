"""What stands in a body: string constants, expressions, attributes set on `self`, keywords handed to `super()`.

Contracts without a signature: routes, payload keys, mode literals, rows of a tensor. One reading, whether the tree was
parsed from a release's source or from a live object's.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable


def words(node: ast.AST | None, wanted: Iterable[str]) -> list[str]:
    """Those of the wanted strings that are constants in the node, parts of f-strings included.

    Strings that stand as statements do not count: that is how docstrings and commented-out text look.
    """
    sought = set(wanted)
    if not sought or node is None:
        return []
    told = {_string(n.value) for n in ast.walk(node) if isinstance(n, ast.Expr)}
    return sorted(sought & ({_string(n) for n in ast.walk(node)} - told))


def _string(node: ast.AST) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def expressions(node: ast.AST | None, wanted: Iterable[str]) -> list[str]:
    """Those of the wanted expressions that stand in the node, however they are laid out."""
    forms = {text: ast.parse(text, mode="eval").body for text in wanted}
    there = list(ast.walk(node)) if node is not None and forms else []
    return sorted(t for t, form in forms.items() if any(type(n) is type(form) and _same(n, form) for n in there))


def _same(a: object, b: object) -> bool:
    if isinstance(a, ast.AST) and isinstance(b, ast.AST):
        names = [f for f in a._fields if f != "ctx"]
        return type(a) is type(b) and all(_same(getattr(a, f, None), getattr(b, f, None)) for f in names)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    return type(a) is type(b) and a == b


def uses_first_parameter(node: ast.AST | None) -> bool:
    """Whether a function's body reads its first parameter, so that it can't be called with None for `self`."""
    given = getattr(node, "args", None)
    first = [*getattr(given, "posonlyargs", []), *getattr(given, "args", [])]
    body = getattr(node, "body", [])
    return bool(first) and any(isinstance(n, ast.Name) and n.id == first[0].arg for s in body for n in ast.walk(s))


def set_on_self(node: ast.AST | None) -> set[str]:
    """The attributes that the methods of a class set on their first parameter, in `__init__` or anywhere else."""
    return {
        n.attr
        for method in getattr(node, "body", [])
        if isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef)) and method.args.args
        for n in ast.walk(method)
        if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)
        if isinstance(n.value, ast.Name) and n.value.id == method.args.args[0].arg
    }


def handed_to_super(node: ast.AST | None) -> list[ast.Call]:
    """The calls that hand a method's own `**kwargs` on to the same method of the next class."""
    rest = getattr(getattr(getattr(node, "args", None), "kwarg", None), "arg", "")
    return [
        n
        for n in (ast.walk(node) if node is not None and rest else ())
        if isinstance(n, ast.Call) and any(k.arg is None and ast.unparse(k.value) == rest for k in n.keywords)
        if ast.unparse(n.func).startswith("super(") and getattr(n.func, "attr", "") == getattr(node, "name", None)
    ]


def own_keywords(node: ast.AST | None) -> list[str]:
    """The keywords that are given beside the `**kwargs` handed to `super()`."""
    return sorted({k.arg for c in handed_to_super(node) for k in c.keywords if k.arg is not None})
