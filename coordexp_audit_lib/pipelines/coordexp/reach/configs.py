"""A tree's configs as mappings, read with their parents and without the tree's own loader."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

import yaml

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.kit.nested import merge
from coordexp_audit_lib.source.tree import Tree

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def merged(tree: Tree, config: str, above: tuple[str, ...] = ()) -> dict[str, Any] | None:
    """A config laid over its parents; None where a file of the chain is missing, is no mapping, or names itself."""
    try:
        raw = yaml.load(tree.text(config), Loader=_LOADER) or {}
    except (SurfaceFailed, yaml.YAMLError):
        return None
    if not isinstance(raw, Mapping) or config in above:
        return None
    parents = raw.get("extends") or []
    found: dict[str, Any] = {}
    for parent in [parents] if isinstance(parents, str) else parents:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(config), str(parent)))
        under = merged(tree, path, (*above, config))
        if under is None:
            return None
        found = merge(found, under)
    return merge(found, {k: v for k, v in raw.items() if k != "extends"})
