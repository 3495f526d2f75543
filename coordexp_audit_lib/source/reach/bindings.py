"""What a function binds its local names to."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from coordexp_audit_lib.source.names import own_nodes
from coordexp_audit_lib.source.tree import DEFINITIONS

Bound = tuple[str, ast.expr | None]


def bindings(function: ast.AST) -> Iterator[Bound]:
    """Each local name with what is assigned to it; None for a value that is not written down as one expression.

    Inner functions' own assignments count too, for they may be to a name of this one (`nonlocal`).
    """
    body: list[ast.AST] = list(getattr(function, "body", []))
    yield from ((a.arg, None) for a in ast.walk(getattr(function, "args", ast.Pass())) if isinstance(a, ast.arg))
    plain: set[int] = set()
    for node in own_nodes(body, ()):
        target = assigned_name(node)
        if target is not None:
            plain.add(id(target))
            value = getattr(node, "value", None)
            yield from [(target.id, value)] if value is not None else []
        elif isinstance(node, ast.Nonlocal):
            yield from ((name, None) for name in node.names)
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            yield node.name, None
    for node in own_nodes(body, DEFINITIONS):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in plain:
            yield node.id, None


def assigned_name(node: ast.AST) -> ast.Name | None:
    """The one name that a plain assignment is to."""
    if isinstance(node, ast.AnnAssign):
        return node.target if isinstance(node.target, ast.Name) else None
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0]
    return None
