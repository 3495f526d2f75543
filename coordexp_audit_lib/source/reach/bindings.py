"""What a function binds its local names to."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from coordexp_audit_lib.source.tree import DEFINITIONS, children

Bound = tuple[str, ast.expr | None]


def bindings(function: ast.AST) -> Iterator[Bound]:
    """Each local name with what is assigned to it; None for a value that is not written down as one expression.

    Inner functions' plain assignments count too, for they may be to a name of this one (`nonlocal`).
    """
    yield from ((a.arg, None) for a in every(getattr(function, "args", None)) if isinstance(a, ast.arg))
    plain: set[int] = set()
    for node, inner in _with_depth(getattr(function, "body", [])):
        target = assigned_name(node)
        if target is not None:
            plain.add(id(target))
            value = getattr(node, "value", None)
            yield from [(target.id, value)] if value is not None else []
        elif isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store) and not inner and id(node) not in plain:
                yield node.id, None
        elif isinstance(node, ast.Nonlocal):
            yield from ((name, None) for name in node.names)
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            yield node.name, None


def own_names(function: ast.AST) -> Iterator[str]:
    """The names that are a function's own: parameters and what it assigns, not what functions in it do."""
    yield from (a.arg for a in every(getattr(function, "args", None)) if isinstance(a, ast.arg))
    for node, inner in _with_depth(getattr(function, "body", [])):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and not inner:
            yield node.id
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name and not inner:
            yield node.name


def _with_depth(body: list[ast.stmt]) -> Iterator[tuple[ast.AST, bool]]:
    """The nodes of a body, each before those in it, with whether they stand in a definition inside it."""
    stack: list[tuple[ast.AST, bool]] = [(s, False) for s in reversed(body)]
    while stack:
        node, inner = stack.pop()
        yield node, inner
        within = inner or isinstance(node, DEFINITIONS)
        stack += [(child, within) for child in children(node)]


def every(node: ast.AST | None) -> Iterator[ast.AST]:
    """A node and all that is in it."""
    stack = [node] if node is not None else []
    while stack:
        one = stack.pop()
        yield one
        stack += children(one)


def assigned_name(node: ast.AST) -> ast.Name | None:
    """The one name that a plain assignment is to."""
    if isinstance(node, ast.AnnAssign):
        return node.target if isinstance(node.target, ast.Name) else None
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0]
    return None
