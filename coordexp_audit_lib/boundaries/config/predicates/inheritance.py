"""Which files a tree's configs name as parents: read from the YAML, loaded by nobody."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence

import msgspec
import yaml

from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.source.parsing import yaml_value


class ConfigFile(msgspec.Struct, frozen=True):
    """A config file: the files that it names as parents, as paths from the repository, each with the line that names
    it. unread: why it could not be read; empty if it could."""

    path: str
    parents: list[tuple[str, int]]
    unread: str = ""


def parent_path(child: str, reference: str) -> str:
    """Where a parent named in a file stands: relative to that file, as a path from the repository."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(child), reference))


def config_file(path: str, content: str, keys: Sequence[str]) -> ConfigFile:
    """keys: of the mapping, those that may name parents, of which the first that is there does."""
    try:
        raw = yaml_value(content)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        return ConfigFile(path, [], " ".join(str(error).split())[:200])
    key = next((k for k in keys if isinstance(raw, dict) and raw.get(k) is not None), None)
    if key is None:
        return ConfigFile(path, [])
    named = [str(n) for n in (raw[key] if isinstance(raw[key], list) else [raw[key]])]
    return ConfigFile(path, [(parent_path(path, n), _line(content, key, n)) for n in named])


def _line(content: str, key: str, name: str) -> int:
    """The line, 1-based, on which a parent is named: the first with the name from the key on."""
    lines = content.splitlines()
    start = next((i for i, text in enumerate(lines) if re.match(rf"[\"']?{re.escape(key)}[\"']?\s*:", text)), 0)
    return next((i for i, text in enumerate(lines[start:], start + 1) if name in text), start + 1)


def parents_exist(files: Sequence[ConfigFile], ledger: Ledger) -> Iterator[Problem]:
    """Every parent that is named is a file of the tree, and none is its own ancestor. Counts files."""
    known = {f.path: f for f in files}
    for file in files:
        ledger.judged()
        if file.unread:
            yield Problem("the config can't be read", file.path, "a YAML mapping", file.unread, where=Where(file.path))
        for parent, line in file.parents:
            if parent not in known:
                message = "the config extends a file that is not in the tree, so no run from it can start"
                near = [p for p in known if p.rpartition("/")[2] == parent.rpartition("/")[2]]
                shown = {"extends": parent, "files of that name": near[:3]}
                yield Problem(message, file.path, "a file of the tree", parent, shown, where=Where(file.path, line))
        ring = _ring(known, file.path)
        if ring and min(ring) == file.path:  # told once, of its first file
            yield Problem("the config is its own ancestor", file.path, None, ring, where=Where(file.path))


def _ring(known: dict[str, ConfigFile], start: str) -> list[str]:
    """The files on a way from `start` back to it; empty if there is none."""
    came: dict[str, str] = {}
    left = [start]
    while left:
        here = left.pop()
        for parent, _ in known[here].parents if here in known else []:
            if parent == start:
                way = [here]
                while way[-1] != start:
                    way.append(came[way[-1]])
                return way[::-1]
            if parent not in came:
                came[parent] = here
                left.append(parent)
    return []
