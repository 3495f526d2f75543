"""HTTP routes that a tree's launchers and trainers name. Source is read, never run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import msgspec

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.source.tree import Tree, text_of, walk

ROUTE = re.compile(r"^/[a-z][a-z0-9_]*/$")
# In a shell script: what follows the port of a URL.
SHELL = re.compile(r"https?://[^\s\"']*?\}?(/[a-z][a-z0-9_]*/)(?=[\s\"']|$)")


class RoutesRequest(msgspec.Struct, frozen=True):
    """roots: folders of the tree whose Python and shell files are read."""

    roots: tuple[str, ...]


class Used(msgspec.Struct, frozen=True):
    path: str
    line: int
    route: str


class Routes(msgspec.Struct, frozen=True):
    """used: sorted by path and line. files: how many were read."""

    used: list[Used]
    files: int


def used(tree: Tree, request: RoutesRequest) -> Routes:
    """Routes at the end of a URL that is put together: `f"{base_url}/infer/"`, `base + "/health/"`, `http://$HOST/x/`."""
    files = [p for p in tree.python_files if p.startswith(tuple(f"{r}/" for r in request.roots))]
    found = [u for p in files for u in _in_python(tree.module(p), p)]
    shell = tree.files(request.roots, ".sh")
    found += [u for p in shell for u in _in_shell(tree.text(p), p)]
    if not files and not shell:
        raise SurfaceFailed("no file to read", where=", ".join(request.roots), remedy="give a folder with sources")
    return Routes(sorted(found, key=lambda u: (u.path, u.line, u.route)), len(files) + len(shell))


def _in_python(module: ast.Module, path: str) -> Iterator[Used]:
    for node in (n for n in walk(module) if isinstance(n, ast.expr)):
        last: ast.expr | None = None
        if isinstance(node, ast.JoinedStr) and len(node.values) > 1:
            last = node.values[-1]
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            last = node.right
        if ROUTE.match(route := text_of(last) or ""):
            yield Used(path, node.lineno, route)


def _in_shell(text: str, path: str) -> Iterator[Used]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.lstrip().startswith("#"):
            yield from (Used(path, number, m.group(1)) for m in SHELL.finditer(line))
