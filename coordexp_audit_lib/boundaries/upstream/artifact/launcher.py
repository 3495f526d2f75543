"""The flags that a tree's launcher gives to `swift rollout`, read from its text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

import msgspec

from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.source.tree import Tree

_COMMAND = re.compile(r"(?<![\w/-])swift[ \t]+rollout(?![\w-])")
_FLAG = re.compile(r"(?<!\S)--([A-Za-z][\w-]*)")


class LauncherRequest(msgspec.Struct, frozen=True):
    """folders: where launchers lie."""

    folders: tuple[str, ...]


class Flag(msgspec.Struct, frozen=True):
    """name: without dashes, as the dataclass field is called."""

    name: str
    path: str
    line: int


class Launcher(msgspec.Struct, frozen=True):
    """flags: in the order in which they stand."""

    flags: list[Flag]


def launcher(tree: Tree, request: LauncherRequest) -> Launcher:
    """Flags of each `swift rollout` command in the shell and Python files below the folders.

    Raises:
        SurfaceUnbound: none of them starts it.
    """
    flags = [f for path in sorted(_files(tree, request)) for f in _in_file(tree, path)]
    if not flags:
        raise SurfaceUnbound("no launcher gives flags to swift rollout", where=", ".join(request.folders))
    return Launcher(flags)


def _files(tree: Tree, request: LauncherRequest) -> Iterator[str]:
    for name in request.folders:
        folder = tree.path(name)
        for path in folder.rglob("*") if folder.is_dir() else ():
            if path.suffix in (".sh", ".py") and path.is_file() and not path.is_symlink():
                yield path.relative_to(tree.root).as_posix()


def _in_file(tree: Tree, path: str) -> Iterator[Flag]:
    return _in_python(tree.module(path), path) if path.endswith(".py") else _in_shell(tree.text(path), path)


def _in_shell(text: str, path: str) -> Iterator[Flag]:
    """A command goes on over lines that end in a backslash, and over the lines of an array's parentheses."""
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        found = None if lines[number].lstrip().startswith(("#", "echo")) else _COMMAND.search(lines[number])
        rest = lines[number][found.end() :] if found else ""
        inside = bool(found) and "(" in lines[number][: found.start() if found else 0]
        while found:
            for flag in _FLAG.finditer(rest.split(" #", 1)[0]):
                yield Flag(flag[1].replace("-", "_"), path, number + 1)
            ends = not rest.rstrip().endswith("\\") and (not inside or rest.rstrip().endswith(")"))
            if ends or number + 1 == len(lines):
                break
            number += 1
            rest = lines[number]
        number += 1


def _in_python(module: ast.Module, path: str) -> Iterator[Flag]:
    """Constants that look like flags, in a list or tuple that begins with `swift`, `rollout`."""
    for node in ast.walk(module):
        if not isinstance(node, (ast.List, ast.Tuple)):
            continue
        words = [i.value if isinstance(i, ast.Constant) and isinstance(i.value, str) else "" for i in node.elts]
        if any(a.endswith("swift") and b == "rollout" for a, b in pairwise(words)):
            for item, word in zip(node.elts, words, strict=True):
                if _FLAG.fullmatch(word):
                    yield Flag(word[2:].replace("-", "_"), path, item.lineno)
