"""Nested mappings and lists, as a config or a JSON document has them: dotted paths, look-up, deep merge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Path = tuple[str | int, ...]


def dotted(path: Path) -> str:
    """`("servers", 0, "x")` as `servers[0].x`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def steps(text: str) -> Path:
    """The path that `dotted` writes as `text`."""
    found: list[str | int] = []
    for part in text.split("."):
        name, *indices = part.replace("]", "").split("[")
        found += [name, *(int(i) for i in indices)]
    return tuple(found)


def lookup(tree: Any, path: Path, default: Any = None) -> Any:
    """The value at a path, or `default` if a step does not exist."""
    for step in path:
        if isinstance(tree, Mapping):
            found = step in tree
        else:
            found = isinstance(tree, list) and isinstance(step, int) and step < len(tree)
        if not found:
            return default
        tree = tree[step]
    return tree


def get(tree: Any, path: str, default: Any = None) -> Any:
    """The value at a dotted path, or `default` if a step does not exist."""
    return lookup(tree, steps(path), default)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Deep merge: mappings merge key by key, anything else is replaced by `over`'s value."""
    merged = dict(base)
    for key, value in over.items():
        known = merged.get(key)
        merged[key] = merge(known, value) if isinstance(value, Mapping) and isinstance(known, Mapping) else value
    return merged


def nest(path: str, value: Any) -> Any:
    """A mapping that holds nothing but `value` at a dotted path of keys."""
    for step in reversed(path.split(".")):
        value = {step: value}
    return value
