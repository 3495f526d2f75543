"""Types and defaults as text in one spelling, whether read from source or taken from live objects."""

from __future__ import annotations

import ast

_OLD = {"List": "list", "Dict": "dict", "Tuple": "tuple", "Set": "set", "Type": "type", "NoneType": "None"}
REQUIRED = ""  # the default of a field that has none


def members(annotation: str) -> frozenset[str]:
    """The members of a union, each in one spelling: `Optional[List[str]]` is `None` and `list[str]`.

    `Literal["a", "b"]` is `Literal['a']` and `Literal['b']`. What does not parse stands for itself.
    """
    text = annotation.strip()
    if text.startswith("<class '") and text.endswith("'>"):
        text = text[len("<class '") : -2]
    try:
        return frozenset(_members(ast.parse(text, mode="eval").body))
    except (SyntaxError, ValueError, RecursionError):
        return frozenset({text})


def _members(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return sorted(members(node.value))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return [*_members(node.left), *_members(node.right)]
    if not isinstance(node, ast.Subscript):
        return [_text(node)]
    name = _text(node.value)
    inside = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "Literal":
        return [f"Literal[{ast.unparse(item)}]" for item in inside]
    if name in ("Optional", "Union", "Annotated"):
        taken = [m for item in inside[: 1 if name == "Annotated" else None] for m in _members(item)]
        return ["None", *taken] if name == "Optional" else taken
    return [f"{name}[{', '.join(' | '.join(sorted(set(_members(item)))) for item in inside)}]"]


def _text(node: ast.expr) -> str:
    name = node.attr if isinstance(node, ast.Attribute) else ast.unparse(node)
    return _OLD.get(name, name)


def takes(wanted: str, offered: str) -> bool:
    """Whether every value of the type `wanted` is one of the type `offered`: a wider type is no drift."""
    given = members(offered)
    return bool({"Any", "object"} & given) or members(wanted) <= given or not wanted


def default(text: str) -> str:
    """A default's source in one spelling: `field(default_factory=list)` is `list()`, `0.` is `0.0`."""
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError):
        return text.strip()
    if isinstance(node, ast.Call) and _text(node.func) in ("field", "Field"):
        return _of_field(node)
    try:
        return repr(ast.literal_eval(node))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return ast.unparse(node)


def _of_field(node: ast.Call) -> str:
    for keyword in node.keywords:
        if keyword.arg == "default":
            return default(ast.unparse(keyword.value))
        if keyword.arg == "default_factory":
            made = keyword.value
            return default(ast.unparse(made.body)) if isinstance(made, ast.Lambda) else f"{ast.unparse(made)}()"
    return default(ast.unparse(node.args[0])) if node.args and _text(node.func) == "Field" else REQUIRED
