"""The flags that a tree's launcher gives to `swift rollout`, read from its text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

import msgspec

from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.source.shell import listed, word_lists
from coordexp_audit_lib.source.tree import Tree

_FLAG = re.compile(r"--([A-Za-z][\w-]*)(?:=|$)")


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
    paths = sorted(p for ending in (".sh", ".py") for p in tree.files(request.folders, ending))
    flags = [flag for path in paths for flag in _in_file(tree, path)]
    if not flags:
        raise SurfaceUnbound("no launcher gives flags to swift rollout", where=", ".join(request.folders))
    return Launcher(flags)


def _in_file(tree: Tree, path: str) -> Iterator[Flag]:
    """What looks like a flag behind the words `swift`, `rollout` of a command, or of a list in Python."""
    for words in listed(tree.module(path)) if path.endswith(".py") else word_lists(tree.text(path)):
        found = [i for i, (a, b) in enumerate(pairwise(words)) if a.text.endswith("swift") and b.text == "rollout"]
        for word in words[found[0] :] if found else ():
            if flag := _FLAG.match(word.text):
                yield Flag(flag[1].replace("-", "_"), path, word.line)
