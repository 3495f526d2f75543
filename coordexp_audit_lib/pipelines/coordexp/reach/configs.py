"""A tree's configs as mappings, read with their parents and without the tree's own loader."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

import msgspec
import yaml

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.kit.nested import merge
from coordexp_audit_lib.source.parsing import yaml_value
from coordexp_audit_lib.source.tree import Tree

DEEPEST = 50  # files, each of which extends the next


class Resolved(msgspec.Struct, frozen=True):
    """A config laid over its parents. files: those that it was read from, the config itself first."""

    values: dict[str, Any]
    files: tuple[str, ...]


def resolved(
    tree: Tree, config: str, above: tuple[str, ...] = (), known: dict[str, Resolved | None] | None = None
) -> Resolved | None:
    """A config with its parents; None where a file of the chain is missing, is no mapping, names itself, or the chain
    has no end. known: what was resolved before, for a parent that many files share."""
    known = {} if known is None else known
    if config not in known:
        known[config] = _resolved(tree, config, above, known) if len(above) <= DEEPEST else None
    return known[config]


def _resolved(tree: Tree, config: str, above: tuple[str, ...], known: dict[str, Resolved | None]) -> Resolved | None:
    try:
        raw = yaml_value(tree.text(config)) or {}
    except (SurfaceFailed, ValueError, RecursionError, yaml.YAMLError):
        return None
    if not isinstance(raw, Mapping) or config in above:
        return None
    parents = raw.get("extends") or []
    if not isinstance(parents, (str, list)):
        return None
    values: dict[str, Any] = {}
    files = [config]
    for parent in [parents] if isinstance(parents, str) else parents:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(config), str(parent)))
        under = resolved(tree, path, (*above, config), known) if path not in above else None
        if under is None:
            return None
        values = merge(values, under.values)
        files += under.files
    own = {k: v for k, v in raw.items() if k != "extends"}
    return Resolved(merge(values, own), tuple(dict.fromkeys(files)))


def unloadable(tree: Tree, config: str) -> str:
    """Why no loader could read a config with its parents: the first file that can't be read, and why; else nothing."""
    waiting, seen = [(config, "")], {config}
    while waiting:
        path, child = waiting.pop(0)
        named = f", which {child} extends," if child else ""
        try:
            raw = yaml_value(tree.text(path))
        except SurfaceFailed:
            return f"{path}{named} is not there, or is no text in UTF-8"
        except (ValueError, RecursionError, yaml.YAMLError) as error:
            return f"{path}{named} is no YAML: {' '.join(str(error).split())[:200]}"
        if raw is not None and not isinstance(raw, Mapping):
            return f"{path}{named} holds no mapping"
        parents = (raw or {}).get("extends") or []
        if not isinstance(parents, (str, list)):
            return f"{path}{named} extends neither a path nor a list of them"
        for parent in [parents] if isinstance(parents, str) else parents:
            above = posixpath.normpath(posixpath.join(posixpath.dirname(path), str(parent)))
            if above not in seen:
                seen.add(above)
                waiting.append((above, path))
    return "" if resolved(tree, config) else f"{config} extends itself, or more than {DEEPEST} files one another"
