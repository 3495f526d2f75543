"""Where code swallows every exception: blanket handlers that do nothing, and `contextlib.suppress` of everything."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import msgspec

from coordexp_audit_lib.source.names import definitions, own_nodes
from coordexp_audit_lib.source.tree import children, walk

BLANKET = frozenset({"Exception", "BaseException", "builtins.Exception", "builtins.BaseException"})


class Suppression(msgspec.Struct, frozen=True):
    """One place where any exception at all vanishes. form: what stands there, in words."""

    path: str
    line: int
    symbol: str
    form: str


def suppressions(module: ast.Module, path: str) -> Iterator[Suppression]:
    """Each blanket handler that does nothing, and each `contextlib.suppress` of everything, in order of lines."""
    names = _suppress_names(module)
    scopes: list[tuple[str, ast.AST]] = [("", module), *((d.qualname, d.node) for d in definitions(module))]
    found = []
    for symbol, scope in scopes:
        for node in own_nodes(children(scope)):
            if isinstance(node, ast.ExceptHandler) and _catches_all(node.type) and all(map(_does_nothing, node.body)):
                caught = ast.unparse(node.type) if node.type else ""
                found.append(Suppression(path, node.lineno, symbol, f"except {caught}".rstrip() + " that does nothing"))
            elif names and isinstance(node, ast.Call) and _calls(node, names) and any(map(_is_blanket, node.args)):
                found.append(Suppression(path, node.lineno, symbol, ast.unparse(node)))
    yield from sorted(found, key=lambda s: s.line)


def may_suppress(text: str) -> bool:
    """Whether a module of that text can hold a handler or a suppression at all; other alphabets can spell both."""
    return not text.isascii() or "except" in text or "suppress" in text


def _calls(node: ast.Call, names: set[str]) -> bool:
    return isinstance(node.func, (ast.Name, ast.Attribute)) and ast.unparse(node.func) in names


def _suppress_names(module: ast.Module) -> set[str]:
    """The names under which `contextlib.suppress` can be called in this module."""
    names = set()
    for node in walk(module):
        if isinstance(node, ast.Import):
            names |= {f"{a.asname or a.name}.suppress" for a in node.names if a.name == "contextlib"}
        elif isinstance(node, ast.ImportFrom) and node.module == "contextlib":
            names |= {a.asname or a.name for a in node.names if a.name == "suppress"}
    return names


def _catches_all(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    return any(map(_is_blanket, caught.elts if isinstance(caught, ast.Tuple) else [caught]))


def _is_blanket(node: ast.expr) -> bool:
    return ast.unparse(node) in BLANKET


def _does_nothing(node: ast.stmt) -> bool:
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
