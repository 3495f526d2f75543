"""The materialised config's key paths, each with what set its value."""

from __future__ import annotations

import msgspec

from coordexp_audit_lib.core.surface import surface


class KeysRequest(msgspec.Struct, frozen=True):
    """config: path of a YAML file in the tree."""

    config: str


class KeyValue(msgspec.Struct, frozen=True):
    """A leaf of the materialised config.

    path: dotted, `[]` for a list of mappings. source: the YAML file in the chain that set it last, `schema default`,
    or `loader` where neither holds. value: JSON text of a short value, else its kind, size and digest.
    """

    path: str
    source: str
    value: str


class Keys(msgspec.Struct, frozen=True):
    """chain: the YAML files that were merged, the most basic first. keys: every leaf, sorted by path."""

    chain: list[str]
    keys: list[KeyValue]


KEYS = surface(
    "pipeline_map.keys", KeysRequest, Keys, "the materialised config's key paths, each with its value's source"
)
