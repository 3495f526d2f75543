"""The one question of its own: where the core paths swallow every exception. What errors say, other boundaries ask."""

from __future__ import annotations

import ast

import msgspec

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.core.surface import surface
from coordexp_audit_lib.source.handlers import Suppression, may_suppress, suppressions
from coordexp_audit_lib.source.tree import Tree, walk


class ScanRequest(msgspec.Struct, frozen=True):
    """folder: where the core paths lie; a tree without it is scanned as a whole."""

    folder: str


class Scan(msgspec.Struct, frozen=True):
    """files, handlers: how many were read; unparsed: files that are no Python."""

    files: int
    handlers: int
    suppressions: list[Suppression]
    unparsed: list[str]


def scan_tree(tree: Tree, request: ScanRequest) -> Scan:
    """Read every module of the core paths."""
    inside = [p for p in tree.python_files if p.startswith(request.folder + "/")]
    found: list[Suppression] = []
    unparsed, handlers = [], 0
    for path in inside or tree.python_files:
        try:
            module = tree.module(path)
        except SurfaceFailed:
            unparsed.append(path)
            continue
        if not may_suppress(tree.text(path)):
            continue
        handlers += sum(isinstance(n, ast.ExceptHandler) for n in walk(module))
        found += suppressions(module, path)
    return Scan(len(inside or tree.python_files), handlers, found, unparsed)


SUPPRESSIONS = surface(
    "silence.suppressions", ScanRequest, Scan, "where the core paths swallow every exception", static=scan_tree
)
