"""Resolve a run's own YAML sources again, from the copies that the run kept."""

from __future__ import annotations

import posixpath
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from coordexp_audit_lib.boundaries.provenance.artifact.reading import Unreadable, inside
from coordexp_audit_lib.boundaries.provenance.predicates.documents import BASE_SOURCE, CONFIG_SOURCE, PARENTS
from coordexp_audit_lib.kit.nested import merge
from coordexp_audit_lib.source.parsing import TooLarge, yaml_value

MAX_SOURCES = 64
MAX_KEPT = 10_000  # files and folders that are looked through for a parent
MAX_STEPS = 128
MAX_NODES = 500_000  # aliases of aliases can make a short file as large as one likes


class Incomplete(Exception):
    """The run did not keep a file that its sources need; the message names it."""


def merged(root: Path) -> dict[str, Any]:
    """What the kept sources resolve to: parents first, the base before the config, a later value over an earlier.

    Raises:
        Incomplete: a parent was not kept. Unreadable: a source is no sound YAML mapping.
    """
    made: dict[str, Any] = {}
    known: dict[str, dict[str, Any]] = {}
    if inside(root, BASE_SOURCE) is not None:
        made = _resolved(root, BASE_SOURCE, (), known)
    return merge(made, _resolved(root, CONFIG_SOURCE, (), known))


def _resolved(root: Path, name: str, chain: tuple[str, ...], known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """known: what was resolved before, by name, so that a parent of many is resolved once."""
    if name in known:
        return known[name]
    if name in chain or len(chain) >= MAX_SOURCES:
        raise Unreadable(f"its parents form a cycle: {' -> '.join([*chain, name])}")
    raw = inside(root, name)
    if raw is None:
        raise Incomplete(f"the run kept no {name}")
    own = mapping(raw, name)
    parents = own.pop("extends", None) or own.pop("inherit", None) or []
    made: dict[str, Any] = {}
    for parent in parents if isinstance(parents, list) else [parents]:
        made = merge(made, _resolved(root, _kept_as(root, str(parent), name), (*chain, name), known))
    known[name] = merge(made, own)
    return known[name]


def _kept(root: Path) -> list[str]:
    """The names of the first parents that the run kept."""
    found = islice((root / PARENTS).rglob("*"), MAX_KEPT)
    return sorted(p.relative_to(root).as_posix() for p in found if not p.is_symlink() and p.is_file())


def _kept_as(root: Path, parent: str, child: str) -> str:
    """The name under which a parent was kept: beside a child that is a kept parent itself, by the path that the child
    names it with, by its file name, or as the only kept file whose path from the repository ends so."""
    steps = [part for part in PurePosixPath(parent).parts if part not in (".", "..", "/")]
    if len(steps) > MAX_STEPS:
        raise Unreadable(f"{child} extends a path of {len(steps)} parts, more than {MAX_STEPS}")
    beside = posixpath.normpath(posixpath.join(posixpath.dirname(child), parent))
    names = [beside] if beside.startswith(f"{PARENTS}/") else []
    for name in [*names, *("/".join([PARENTS, *steps[-n:]]) for n in range(len(steps), 0, -1))]:
        if inside(root, name) is not None:
            return name
    ending = [name for name in _kept(root) if steps and PurePosixPath(name).parts[-len(steps) :] == tuple(steps)]
    if len(ending) == 1:
        return ending[0]
    if ending:
        raise Incomplete(f"{child} extends {parent[:200]}, which {len(ending)} of the kept files may be")
    raise Incomplete(f"{child} extends {parent[:200]}, which the run did not keep")


def mapping(raw: bytes, name: str) -> dict[str, Any]:
    """A YAML mapping of bounded size.

    Raises:
        Unreadable: it is none.
    """
    try:
        value = yaml_value(raw.decode("utf-8-sig"), MAX_NODES)
    except TooLarge as error:
        raise Unreadable(f"{name}: {error}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)  # the error's own text quotes the line, which may hold a secret
        place = f" (line {mark.line + 1})" if mark else ""
        raise Unreadable(
            f"{name} is no YAML: {getattr(error, 'problem', None) or type(error).__name__}{place}"
        ) from error
    if not isinstance(value, dict):
        raise Unreadable(f"{name} is no YAML mapping")
    return value
