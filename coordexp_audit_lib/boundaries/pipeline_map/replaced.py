"""Methods that a subclass in sight replaces without calling them: what they read drives nothing in that subclass."""

from __future__ import annotations

import ast
from collections.abc import Iterator


def replaced_methods(modules: dict[str, ast.Module]) -> dict[tuple[str, str], str]:
    """File and `Class.method` of each replaced method -> the subclass that replaces it.

    Classes are matched by name; a name that stands for two classes in sight is left out.
    """
    classes: dict[str, list[tuple[str, ast.ClassDef]]] = {}
    for path in sorted(modules):
        for node in modules[path].body:
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, []).append((path, node))
    found: dict[tuple[str, str], str] = {}
    for places in classes.values():
        for _, child in places:
            for base in _bases(child):
                if len(classes.get(base, ())) == 1:
                    path, parent = classes[base][0]
                    found.update({(path, f"{base}.{m}"): child.name for m in _replaced(parent, child)})
    return found


def _bases(node: ast.ClassDef) -> Iterator[str]:
    for base in node.bases:
        if isinstance(base, (ast.Name, ast.Attribute)):
            yield base.id if isinstance(base, ast.Name) else base.attr


def _replaced(parent: ast.ClassDef, child: ast.ClassDef) -> list[str]:
    own = {n.name for n in parent.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))}
    anew = [n for n in child.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)) and n.name in own]
    called = {_super_call(n) for n in ast.walk(child)}
    return [n.name for n in anew if n.name not in called and not n.name.startswith("__")]


def _super_call(node: ast.AST) -> str:
    """The method that `super().method` names; empty for any other node."""
    match node:
        case ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr=name):
            return name
    return ""
