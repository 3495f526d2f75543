"""What a module imports of packages that are not its own, and can't do without."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.source.tree import Tree

MAY_FAIL = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException", "AttributeError", ""}


def outer(tree: Tree, path: str, own: set[str]) -> Iterator[tuple[str, str, int]]:
    """(`module:name`, path, line) of each import at the top of a module. An import that the code expects to fail, that
    only a type checker reads, or that stands in a condition or a function is left out. own: top names of the source."""
    try:
        module = tree.module(path)
    except SurfaceFailed:
        return
    for node in _top(module.body):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            symbols = [f"{node.module}:{a.name}" for a in node.names if a.name != "*"] or [f"{node.module}:"]
        elif isinstance(node, ast.Import):
            symbols = [f"{a.name}:" for a in node.names]
        else:
            continue
        for symbol in symbols:
            top = symbol.partition(":")[0].partition(".")[0]
            if top not in own and top not in sys.stdlib_module_names:
                yield symbol, path, node.lineno


def _top(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.Try):
            yield from () if any(_expects(h) for h in node.handlers) else _top(node.body)
        elif isinstance(node, ast.With):  # as of contextlib.suppress
            continue
        else:
            yield node


def _expects(handler: ast.ExceptHandler) -> bool:
    """Whether a handler takes in an import that fails."""
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(getattr(kind, "id", "") in MAY_FAIL for kind in kinds)
