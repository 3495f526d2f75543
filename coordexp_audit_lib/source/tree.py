"""A source tree that is read, never imported."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

import msgspec

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.core.evidence import Where, digest
from coordexp_audit_lib.core.reading import content
from coordexp_audit_lib.source.parsing import Parser

MAX_TEXT = 16 << 20
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


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
        self._parser = Parser()
        self._located: dict[str, Located | None] = {}

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
            return content(path, MAX_TEXT).decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise SurfaceFailed(f"cannot read: {reason}", where=relative, remedy="check the tree") from error

    def states(self, relative: str, requirement: str) -> bool:
        """Whether the file has that heading or text; of a Python file, whether it defines that symbol; of a YAML file,
        whether it sets a key of the path's last name."""
        if not self.exists(relative):
            return False
        if relative.endswith(".py"):
            return find_definition(self.module(relative), requirement) is not None
        if relative.endswith((".yaml", ".yml")):
            requirement = requirement.rpartition(".")[2] + ":"
        return " ".join(requirement.split()) in " ".join(self.text(relative).split())

    def module(self, relative: str) -> ast.Module:
        """Parse a Python file, once."""
        if relative not in self._modules:
            try:
                self._modules[relative] = self._parser.parse(self.text(relative), relative)
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                raise SurfaceFailed(f"does not parse: {error}", where=relative, remedy="check the tree") from error
        return self._modules[relative]

    @cached_property
    def python_files(self) -> tuple[str, ...]:
        """Every .py file below the root, sorted, hidden folders and symlinks left out."""
        return tuple(n for n in self.files(("",), ".py") if not any(part.startswith(".") for part in n.split("/")))

    def files(self, folders: Iterable[str], ending: str) -> list[str]:
        """The files below some folders whose names end so, sorted; symlinks are left out."""
        paths = (p for folder in map(self.path, folders) if folder.is_dir() for p in folder.rglob(f"*{ending}"))
        return sorted(p.relative_to(self.root).as_posix() for p in paths if p.is_file() and not p.is_symlink())

    def locate(self, symbol: str) -> Located | None:
        """Find `package.module:Class.method` (or `package.module:NAME`, or a module alone) in the tree.

        Follows no import: a name that a module only re-exports is not found there.
        """
        if symbol not in self._located:
            self._located[symbol] = self._locate(symbol)
        return self._located[symbol]

    def _locate(self, symbol: str) -> Located | None:
        module_name, _, qualname = symbol.partition(":")
        for relative in filter(self.exists, module_paths(module_name)):
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


def find_definition(module: ast.Module | ast.stmt, qualname: str) -> ast.stmt | None:
    """The node that defines `Class.method`, a function, a class or an assigned name in a module or class; None if
    there is none."""
    body: list[ast.stmt] = getattr(module, "body", [])
    node: ast.stmt | None = None
    for part in qualname.split("."):
        node = next((n for n in statements(body) if _defines(n, part)), None)
        if node is None:
            return None
        body = getattr(node, "body", [])
    return node


def definitions(body: list[ast.stmt]) -> dict[str, ast.stmt]:
    """By name, the first statement of a body that defines it: what `find_definition` finds, for many names at once."""
    found: dict[str, ast.stmt] = {}
    for node in statements(body):
        for name in (node.name,) if isinstance(node, DEFINITIONS) else assigned(node):
            found.setdefault(name, node)
    return found


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
    return node.name == name if isinstance(node, DEFINITIONS) else name in assigned(node)


def assigned(node: ast.AST) -> list[str]:
    """The names that an assignment binds; of anything else, none."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [t.id for t in targets if isinstance(t, ast.Name)]


def module_paths(module: str) -> tuple[str, str]:
    """The files that a module may be, in Python's order: a package goes before a module of the same name."""
    base = module.replace(".", "/")
    return f"{base}/__init__.py", f"{base}.py"


def module_name(path: str) -> str:
    """The dotted name of a module's file."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def text_of(node: ast.AST | None) -> str | None:
    """The string that an expression is as it stands; None for anything else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def children(node: ast.AST) -> list[ast.AST]:
    """The nodes right below a node; quicker than `ast.iter_child_nodes`, which counts over a whole tree."""
    found: list[ast.AST] = []
    held, syntax = node.__dict__, ast.AST
    for name in node._fields:
        value = held.get(name)
        if value.__class__ is list:
            found += [v for v in value if isinstance(v, syntax)]
        elif isinstance(value, syntax):
            found.append(value)
    return found


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all that is below it, level by level as `ast.walk` goes, and quicker."""
    waiting = [node]
    for one in waiting:
        waiting += children(one)
        yield one
