"""A config as a chain of files: its mapping nodes, and edits that leave the files' shape alone."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from coordexp_audit_lib.boundaries.config.surfaces import Chain, SourceFile
from coordexp_audit_lib.kit.nested import Path, dotted, lookup, steps

_PAIR = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})")


def mapping_nodes(tree: Any, path: Path = ()) -> Iterator[Path]:
    """The path of every mapping at or below `tree`, list items included, in order of the keys."""
    if isinstance(tree, Mapping):
        yield path
        for key in sorted(tree, key=str):
            yield from mapping_nodes(tree[key], (*path, key))
    elif isinstance(tree, list):
        for i, item in enumerate(tree):
            yield from mapping_nodes(item, (*path, i))


def leaves(tree: Mapping[str, Any], path: Path = ()) -> Iterator[Path]:
    """The path of every value that is no mapping, and of every empty mapping."""
    for key in sorted(tree, key=str):
        value = tree[key]
        if isinstance(value, Mapping) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def text_of(raw: Mapping[str, Any], extends: Iterable[str] = ()) -> str:
    """YAML of one file, in flow style, keys as they come. One parent is written as a text, several as a list."""
    parents = list(extends)
    head = {} if not parents else {"extends": parents[0] if len(parents) == 1 else parents}
    return _flow({**head, **raw}) + "\n"


def in_order(value: Any) -> Any:
    """`value` with the keys of its mappings sorted: an answer's key order is lost when it is recorded."""
    if isinstance(value, Mapping):
        return {k: in_order(value[k]) for k in sorted(value, key=str)}
    return [in_order(v) for v in value] if isinstance(value, list) else value


def _flow(value: Any) -> str:
    """One value as YAML. A check writes hundreds of files, and PyYAML's emitter would take most of its time."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_quoted(str(k))}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, float):
        return _real(value)
    return _quoted(value) if isinstance(value, str) else json.dumps(value)


def _real(value: float) -> str:
    """YAML 1.1 reads 1e-06 as a text and 1.0e-06 as a number."""
    if not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    return re.sub(r"^(-?\d+)e", r"\1.0e", repr(value))


def _quoted(text: str) -> str:
    """A double-quoted text. JSON writes what is beyond the first plane as two escapes, YAML as one."""
    return _PAIR.sub(lambda m: f"\\U{_joined(int(m[1], 16), int(m[2], 16)):08x}", json.dumps(text))


def _joined(high: int, low: int) -> int:
    return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)


def rewritten(file: SourceFile, raw: Mapping[str, Any]) -> dict[str, str]:
    """An overlay of one file with other keys."""
    return {file.path: text_of(raw, file.extends)}


def with_value(chain: Chain, path: Path, value: Any, *, file: int = 0) -> dict[str, str]:
    """An overlay that sets one value in one file of the chain (the leaf by default).

    A list on the way is taken over from the resolved config as a whole, for lists replace each other.
    """
    raw = copy.deepcopy(chain.files[file].raw)
    _put(raw, chain.merged, path, value)
    return rewritten(chain.files[file], raw)


def with_values(chain: Chain, values: Mapping[str, Any]) -> dict[str, str]:
    """An overlay that sets several values (by dotted path) in the leaf."""
    raw = copy.deepcopy(chain.files[0].raw)
    for path, value in values.items():
        _put(raw, chain.merged, steps(path), value)
    return rewritten(chain.files[0], raw)


def without(chain: Chain, path: Path) -> dict[str, str]:
    """An overlay that takes a key out of every file of the chain that sets it."""
    overlay: dict[str, str] = {}
    for file in chain.files:
        parent = lookup(file.raw, path[:-1])
        if isinstance(parent, Mapping) and path[-1] in parent:
            raw = copy.deepcopy(file.raw)
            del lookup(raw, path[:-1])[path[-1]]
            overlay |= rewritten(file, raw)
    return overlay


def _put(raw: dict[str, Any], merged: Any, path: Path, value: Any) -> None:
    """Set a value, making mappings on the way and copying lists from `merged`."""
    node: Any = raw
    for i, step in enumerate(path[:-1]):
        merged = lookup(merged, (step,))
        if isinstance(step, str) and not isinstance(node.get(step), (dict, list)):
            node[step] = copy.deepcopy(merged) if isinstance(merged, list) else {}
        node = node[step]
        if isinstance(node, list) and not isinstance(path[i + 1], int):
            raise KeyError(f"{dotted(path)}: a list has no key {path[i + 1]!r}")
    node[path[-1]] = copy.deepcopy(value)
