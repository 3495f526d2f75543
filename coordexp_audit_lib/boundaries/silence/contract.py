"""What counts as a silenced failure, and what an actionable error says.

Source of the claims: the audited project's OpenSpec capability `silent-failure-policy`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import msgspec

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.core.surface import surface
from coordexp_audit_lib.source.tree import Tree

CORE_FOLDER = "src"
BLANKET = ("Exception", "BaseException")
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class ScanRequest(msgspec.Struct, frozen=True):
    """folder: where the core paths lie; a tree without it is scanned as a whole."""

    folder: str = CORE_FOLDER


class Suppression(msgspec.Struct, frozen=True):
    """One place where any exception at all vanishes. form: what stands there, in words."""

    path: str
    line: int
    symbol: str
    form: str


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
        handlers += sum(isinstance(n, ast.ExceptHandler) for n in ast.walk(module))
        found += suppressions(module, path)
    return Scan(len(inside or tree.python_files), handlers, found, unparsed)


SUPPRESSIONS = surface(
    "silence.suppressions", ScanRequest, Scan, "where the core paths swallow every exception", static=scan_tree
)


def suppressions(module: ast.Module, path: str) -> Iterator[Suppression]:
    """Each blanket handler that does nothing, and each `contextlib.suppress` of everything, in order of lines."""
    names = _suppress_names(module)
    found = []
    for node, symbol in _with_symbols(module, ""):
        if isinstance(node, ast.ExceptHandler) and _catches_all(node.type) and all(map(_does_nothing, node.body)):
            caught = ast.unparse(node.type) if node.type else ""
            found.append(Suppression(path, node.lineno, symbol, f"except {caught}".rstrip() + " that does nothing"))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in names and any(map(_is_blanket, node.args)):
            found.append(Suppression(path, node.lineno, symbol, ast.unparse(node)))
    yield from sorted(found, key=lambda s: s.line)


def _with_symbols(node: ast.AST, symbol: str) -> Iterator[tuple[ast.AST, str]]:
    for child in ast.iter_child_nodes(node):
        inner = f"{symbol}.{child.name}".lstrip(".") if isinstance(child, _SCOPES) else symbol
        yield child, inner
        yield from _with_symbols(child, inner)


def _suppress_names(module: ast.Module) -> set[str]:
    """The names under which `contextlib.suppress` can be called in this module."""
    names = set()
    for node in ast.walk(module):
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
    return ast.unparse(node) in (*BLANKET, *(f"builtins.{n}" for n in BLANKET))


def _does_nothing(node: ast.stmt) -> bool:
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


# An error that a stranger can act on names a thing (a key path, a field, an index, a quoted symbol, a value), and says
# what is demanded or what to do. These are the words in which Python programs say so; the claim is P2 for that reason.
_NAMES_A_PLACE = re.compile(
    r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*|\[\d+\])+|[\w-]+_[\w-]+|['\"`][^'\"`]+['\"`]"
    r"|\b(char|character|line|position|index|step|rank)s?\W*\d+|^[a-z]\w*(:| must\b| is\b)"
)
_SAYS_WHAT = re.compile(
    r"\b(must|should|expect\w*|requires?|required|needs?|use|set|provide\w*|remove\w*|move|migrat\w+|edit|replace"
    r"|re-?run|one of|allowed|supported|unsupported|forbidden|cannot|only|exactly|at least|remedy|instead|between"
    r"|in [\[(]|[<>]=?)(\b|\s|$)",
    re.IGNORECASE,
)


def lacks(message: str) -> list[str]:
    """What an error message fails to say: any of `a cause`, `a place`, `a remedy`."""
    missing = []
    if len(message.split()) < 3:
        missing.append("a cause")
    if not _NAMES_A_PLACE.search(message):
        missing.append("a place")
    if not _SAYS_WHAT.search(message):
        missing.append("a remedy")
    return missing
