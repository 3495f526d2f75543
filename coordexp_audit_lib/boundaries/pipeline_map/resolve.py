"""Static answers: what the launchers start, and where the owners stand. The tree is read, never imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import PurePosixPath

import msgspec

from coordexp_audit_lib.boundaries.pipeline_map.launchers import Start, commands, started
from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.core.evidence import digest
from coordexp_audit_lib.source.tree import Located, Tree

PARTICULAR = 16  # letters that make a name too particular to stand twice by chance
_DEFINED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class EntrypointFiles(msgspec.Struct, frozen=True):
    id: str
    launcher: str
    config: str


class EntrypointsRequest(msgspec.Struct, frozen=True):
    entrypoints: list[EntrypointFiles]


class StartedEntrypoint(msgspec.Struct, frozen=True):
    """starts: what the launcher starts by itself and through the scripts and modules that it starts, in order."""

    id: str
    launcher: str
    launcher_exists: bool
    config: str
    config_exists: bool
    starts: list[Start]


class Entrypoints(msgspec.Struct, frozen=True):
    entrypoints: list[StartedEntrypoint]


class OwnerNames(msgspec.Struct, frozen=True):
    """names: `module:symbol` at the reference commit, then at other commits."""

    names: list[str]


class OwnersRequest(msgspec.Struct, frozen=True):
    owners: list[OwnerNames]


class ResolvedOwner(msgspec.Struct, frozen=True):
    """asked: the name at the reference commit. status: `found`, `moved` (another name, or found by its last name alone
    in one place of the tree), `missing`."""

    asked: str
    status: str
    path: str = ""
    line: int = 0
    symbol: str = ""
    digest: str = ""


class Owners(msgspec.Struct, frozen=True):
    owners: list[ResolvedOwner]


def entrypoints(tree: Tree, request: EntrypointsRequest) -> Entrypoints:
    """Answer `pipeline_map.entrypoints`."""
    found = []
    for e in request.entrypoints:
        stands = tree.exists(e.launcher)
        starts = list(_starts(tree, e.launcher, set())) if stands else []
        found.append(StartedEntrypoint(e.id, e.launcher, stands, e.config, tree.exists(e.config), _once(starts)))
    return Entrypoints(found)


def _starts(tree: Tree, script: str, seen: set[str]) -> Iterator[Start]:
    """What a shell script starts, and what is started by what it starts; each file is read once."""
    seen.add(script)
    for command in commands(tree.text(script)):
        what = started(command)
        if what is None:
            continue
        kind, name = what
        file = _file_of(tree, kind, name, script)
        shown = file if kind == "script" and file else name
        yield Start(kind, shown, file, script, command.line)
        if file and file not in seen:
            if file.endswith(".sh"):
                yield from _starts(tree, file, seen)
            elif kind == "module":
                seen.add(file)
                yield from _starts_of_module(tree, file)


def _file_of(tree: Tree, kind: str, name: str, script: str) -> str:
    if kind == "command":
        return ""
    if kind == "module":
        base = name.replace(".", "/")
        return next((f for f in (f"{base}.py", f"{base}/__main__.py", f"{base}/__init__.py") if _stands(tree, f)), "")
    below = name.split("}/", 1)[-1] if name.startswith("${") else name
    beside = (PurePosixPath(script).parent / below).as_posix()
    return next((f for f in (below, beside) if _stands(tree, f)), "")


def _stands(tree: Tree, path: str) -> bool:
    try:
        return tree.exists(path)
    except SurfaceFailed:  # the path leaves the tree
        return False


def _starts_of_module(tree: Tree, file: str) -> Iterator[Start]:
    """Commands that a Python launcher builds: lists of words that start a program or a module."""
    for node in ast.walk(tree.module(file)):
        if not isinstance(node, ast.List):
            continue
        words = [e.value if isinstance(e, ast.Constant) and isinstance(e.value, str) else "" for e in node.elts]
        if words[:1] == ["swift"] and len(words) > 1 and words[1]:
            yield Start("command", f"swift {words[1]}", "", file, node.lineno)
        elif "-m" in words[:-1] and words[0] in ("torchrun", "python", ""):
            name = words[words.index("-m") + 1]
            yield Start("module", name, _file_of(tree, "module", name, file), file, node.lineno)


def _once(starts: list[Start]) -> list[Start]:
    """The first of each kind and name."""
    seen: dict[tuple[str, str], Start] = {}
    for s in starts:
        seen.setdefault((s.kind, s.what), s)
    return list(seen.values())


def owners(tree: Tree, request: OwnersRequest) -> Owners:
    """Answer `pipeline_map.owners`."""
    places = _Definitions(tree)
    return Owners([_resolve(tree, o.names, places) for o in request.owners])


def _resolve(tree: Tree, names: list[str], places: _Definitions) -> ResolvedOwner:
    for i, name in enumerate(names):
        located = _located(tree, name)
        if located:
            return _standing(names[0], "moved" if i else "found", located)
    found = places.only(names[0])
    return _standing(names[0], "moved", found) if found else ResolvedOwner(names[0], "missing")


def _located(tree: Tree, name: str) -> Located | None:
    try:
        return tree.locate(name)
    except SurfaceFailed:  # the file does not parse: it owns nothing that can be pointed at
        return None


def _standing(asked: str, status: str, at: Located) -> ResolvedOwner:
    return ResolvedOwner(asked, status, at.path, at.line, at.symbol, at.digest)


class _Definitions:
    """Every function and class of the tree's `src`, by last name, built on first use."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._found: dict[str, list[Located]] | None = None

    def only(self, symbol: str) -> Located | None:
        """The one definition of that name, in whichever module; None if there are none or several.

        A long last name is enough, since methods become functions; a short one must keep its class.
        """
        if self._found is None:
            self._found = {}
            for path in self.tree.python_files:
                if path.startswith("src/"):
                    self._read(path)
        qualname = symbol.rsplit(":", 1)[-1]
        last = qualname.rsplit(".", 1)[-1]
        found = self._found.get(last, [])
        if len(last) < PARTICULAR:
            found = [f for f in found if f.symbol.rsplit(":", 1)[-1] == qualname]
        return found[0] if len(found) == 1 else None

    def _read(self, path: str) -> None:
        assert self._found is not None
        try:
            module = self.tree.module(path)
        except SurfaceFailed:
            return
        name = path.removesuffix(".py").replace("/", ".")
        stack: list[tuple[ast.AST, str]] = [(module, "")]
        while stack:
            node, prefix = stack.pop()
            for child in ast.iter_child_nodes(node):
                if isinstance(child, _DEFINED):
                    at = Located(path, child.lineno, f"{name}:{prefix}{child.name}", digest(ast.dump(child)))
                    self._found.setdefault(child.name, []).append(at)
                    if isinstance(child, ast.ClassDef):
                        stack.append((child, f"{prefix}{child.name}."))
