"""A source tree that is read, never imported."""

from __future__ import annotations

import ast
import warnings
from functools import cached_property
from pathlib import Path, PurePosixPath

import msgspec

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.core.evidence import Where, digest

MAX_SOURCE = 16 << 20
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Located(msgspec.Struct, frozen=True):
    """Where a symbol is defined, with a digest of its source (comments and layout excluded)."""

    path: str
    line: int
    symbol: str
    digest: str

    @property
    def where(self) -> Where:
        return Where(self.path, self.line, self.symbol)


class Tree:
    """Read access to the files below `root`; paths are POSIX and relative to it, and cannot leave it."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).resolve()
        self._modules: dict[str, ast.Module] = {}

    def path(self, relative: str) -> Path:
        """Resolve a relative path; a path that leaves the tree is refused."""
        pure = PurePosixPath(relative)
        try:
            full = (self.root / pure).resolve()
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a NUL
            raise SurfaceFailed(f"cannot be resolved: {error}", where=relative, remedy="check the tree") from error
        if pure.is_absolute() or not full.is_relative_to(self.root):
            raise SurfaceFailed(f"{relative} leaves the tree", where=relative, remedy="give a path below the root")
        return full

    def exists(self, relative: str) -> bool:
        return self.path(relative).is_file()

    def text(self, relative: str) -> str:
        path = self.path(relative)
        try:
            if not path.is_file() or path.stat().st_size > MAX_SOURCE:
                raise OSError(f"not a regular file of at most {MAX_SOURCE} bytes")
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise SurfaceFailed(f"cannot read: {reason}", where=relative, remedy="check the tree") from error

    def module(self, relative: str) -> ast.Module:
        """Parse a Python file, once."""
        if relative not in self._modules:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # what Python thinks of the target's escapes is not our output
                    self._modules[relative] = ast.parse(self.text(relative), filename=relative)
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                raise SurfaceFailed(f"does not parse: {error}", where=relative, remedy="check the tree") from error
        return self._modules[relative]

    @cached_property
    def python_files(self) -> tuple[str, ...]:
        """Every .py file below the root, sorted, hidden folders and symlinks left out."""
        found = (p for p in self.root.rglob("*.py") if p.is_file() and not p.is_symlink())
        names = (p.relative_to(self.root).as_posix() for p in found)
        return tuple(sorted(n for n in names if not any(part.startswith(".") for part in n.split("/"))))

    def locate(self, symbol: str) -> Located | None:
        """Find `package.module:Class.method` (or `package.module:NAME`, or a module alone) in the tree.

        Follows no import: a name that a module only re-exports is not found there.
        """
        module_name, _, qualname = symbol.partition(":")
        base = module_name.replace(".", "/")
        for relative in (f"{base}/__init__.py", f"{base}.py"):
            if not self.exists(relative):
                continue
            module = self.module(relative)
            if not qualname:
                return Located(relative, 1, symbol, source_digest(module))
            node = find_definition(module, qualname)
            if node is not None:
                return Located(relative, node.lineno, symbol, source_digest(node))
        return None


def source_digest(node: ast.AST) -> str:
    """Digest of a node's source, comments and layout excluded; empty where it is nested too deep to be written down."""
    try:
        return digest(ast.dump(node))
    except RecursionError:
        return ""


def find_definition(module: ast.Module, qualname: str) -> ast.stmt | None:
    """The node that defines `Class.method`, a function, a class or an assigned name; None if there is none."""
    body: list[ast.stmt] = module.body
    node: ast.stmt | None = None
    for part in qualname.split("."):
        node = next((n for n in statements(body) if _defines(n, part)), None)
        if node is None:
            return None
        body = getattr(node, "body", [])
    return node


def statements(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements of a body, with those under `if` and `try`, where names are often defined."""
    found: list[ast.stmt] = []
    for node in body:
        found.append(node)
        if isinstance(node, (ast.If, ast.Try)):
            handlers = [s for h in getattr(node, "handlers", []) for s in h.body]
            found += statements([*node.body, *node.orelse, *handlers, *getattr(node, "finalbody", [])])
    return found


def _defines(node: ast.stmt, name: str) -> bool:
    if isinstance(node, _DEFINITIONS):
        return node.name == name
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(t, ast.Name) and t.id == name for t in targets)
