"""Compare two manifests field by field, and rank each difference by the most that it can change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal

import msgspec

Rank = Literal["objective", "numerics", "speed", "nothing"]
RANKS: tuple[Rank, ...] = ("objective", "numerics", "speed", "nothing")
_MISSING = "(not recorded)"
_PER_ITEM = 64  # a longer list is compared as one value


class Difference(msgspec.Struct, frozen=True):
    """One field that differs. before, after: the values, or `(not recorded)`."""

    field: str
    rank: Rank
    before: Any
    after: Any


Rules = tuple[tuple[Rank, str], ...]


@lru_cache
def _compiled(rules: Rules) -> list[tuple[Rank, re.Pattern[str]]]:
    return [(rank, re.compile(pattern)) for rank, pattern in rules]


def rank_of(field: str, rules: Rules) -> Rank:
    """The most that a field can change: the first rule found in its path decides; what no rule knows may change
    anything."""
    return next((rank for rank, pattern in _compiled(rules) if pattern.search(field)), "objective")


def flat(documents: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of a manifest by `document:dotted.path`."""
    return {f"{name}:{path}": value for name, tree in documents.items() for path, value in _leaves(tree, "")}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, below in value.items():
            yield from _leaves(below, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and 0 < len(value) <= _PER_ITEM and any(isinstance(v, (dict, list)) for v in value):
        for number, below in enumerate(value):
            yield from _leaves(below, f"{path}[{number}]")
    else:
        yield path, value


def differences(before: Mapping[str, Any], after: Mapping[str, Any], rules: Rules) -> list[Difference]:
    """The differing fields of two manifests, what can change most first, then by name. rules: the contract's
    `provenance.ranks`."""
    a, b = flat(before), flat(after)
    found = [
        Difference(field, rank_of(field, rules), a.get(field, _MISSING), b.get(field, _MISSING))
        for field in a.keys() | b.keys()
        if field not in a or field not in b or not _equal(a[field], b[field])
    ]
    return in_order(found)


def in_order(found: list[Difference]) -> list[Difference]:
    """What can change most first, then by name."""
    return sorted(found, key=lambda d: (RANKS.index(d.rank), d.field))


def _equal(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)


def counts(found: list[Difference]) -> dict[str, int]:
    """How many differences there are of each rank."""
    return {rank: sum(d.rank == rank for d in found) for rank in RANKS}
