"""A tree's configs as mappings, read with their parents and without the tree's own loader."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

import msgspec
import yaml

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.kit.nested import merge
from coordexp_audit_lib.source.tree import Tree

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Resolved(msgspec.Struct, frozen=True):
    """A config laid over its parents. files: those that it was read from, the config itself first."""

    values: dict[str, Any]
    files: tuple[str, ...]


def resolved(tree: Tree, config: str, above: tuple[str, ...] = ()) -> Resolved | None:
    """A config with its parents; None where a file of the chain is missing, is no mapping, or names itself."""
    try:
        raw = yaml.load(tree.text(config), Loader=_LOADER) or {}
    except (SurfaceFailed, yaml.YAMLError):
        return None
    if not isinstance(raw, Mapping) or config in above:
        return None
    parents = raw.get("extends") or []
    values: dict[str, Any] = {}
    files = [config]
    for parent in [parents] if isinstance(parents, str) else parents:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(config), str(parent)))
        under = resolved(tree, path, (*above, config))
        if under is None:
            return None
        values = merge(values, under.values)
        files += under.files
    return Resolved(merge(values, {k: v for k, v in raw.items() if k != "extends"}), tuple(files))
