"""Resolve a run's own YAML sources again, from the copies that the run kept."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from coordexp_audit_lib.boundaries.provenance.artifact.reading import Unreadable, inside
from coordexp_audit_lib.boundaries.provenance.predicates.documents import BASE_SOURCE, CONFIG_SOURCE, PARENTS
from coordexp_audit_lib.kit.nested import merge

MAX_SOURCES = 64
MAX_NODES = 200_000  # aliases of aliases can make a short file as large as one likes


class Incomplete(Exception):
    """The run did not keep a file that its sources need; the message names it."""


def merged(root: Path) -> dict[str, Any]:
    """What the kept sources resolve to: parents first, the base before the config, a later value over an earlier.

    Raises:
        Incomplete: a parent was not kept. Unreadable: a source is no sound YAML mapping.
    """
    made: dict[str, Any] = {}
    if inside(root, BASE_SOURCE) is not None:
        made = _resolved(root, BASE_SOURCE, ())
    return merge(made, _resolved(root, CONFIG_SOURCE, ()))


def _resolved(root: Path, name: str, chain: tuple[str, ...]) -> dict[str, Any]:
    if name in chain or len(chain) >= MAX_SOURCES:
        raise Unreadable(f"its parents form a cycle: {' -> '.join([*chain, name])}")
    raw = inside(root, name)
    if raw is None:
        raise Incomplete(f"the run kept no {name}")
    own = _mapping(raw, name)
    parents = own.pop("extends", None) or own.pop("inherit", None) or []
    made: dict[str, Any] = {}
    for parent in [parents] if isinstance(parents, str) else parents:
        made = merge(made, _resolved(root, _kept_as(root, str(parent), name), (*chain, name)))
    return merge(made, own)


def _kept_as(root: Path, parent: str, child: str) -> str:
    """The name under which a parent was kept: by the path that the child names it with, or by its file name."""
    steps = [part for part in PurePosixPath(parent).parts if part not in (".", "..", "/")]
    names = ["/".join([PARENTS, *steps[-n:]]) for n in range(len(steps), 0, -1)]
    for name in names:
        if inside(root, name) is not None:
            return name
    raise Incomplete(f"{child} extends {parent}, which the run did not keep")


def _mapping(raw: bytes, name: str) -> dict[str, Any]:
    try:
        value = yaml.safe_load(raw.decode("utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)  # the error's own text quotes the line, which may hold a secret
        place = f" (line {mark.line + 1})" if mark else ""
        raise Unreadable(
            f"{name} is no YAML: {getattr(error, 'problem', None) or type(error).__name__}{place}"
        ) from error
    if not isinstance(value, dict):
        raise Unreadable(f"{name} is no YAML mapping")
    waiting: list[Any] = [value]
    nodes = 0
    while waiting:
        node = waiting.pop()
        below = node.values() if isinstance(node, dict) else node
        waiting += [n for n in below if isinstance(n, (dict, list))]
        nodes += 1
        if nodes > MAX_NODES:
            raise Unreadable(f"{name} expands to more than {MAX_NODES} nodes")
    return value
