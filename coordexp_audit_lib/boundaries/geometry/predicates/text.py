"""Comparing an assistant's text with the record that it was made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.geometry.predicates.records import GEOMETRY_KEYS
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit import coordjson
from coordexp_audit_lib.kit.boxes import bin_of


class Shown(msgspec.Struct, frozen=True):
    """One object of a text or a record: desc, geometry key, bins in order, and its keys in order."""

    desc: str
    geometry: str
    bins: tuple[int, ...]
    keys: tuple[str, ...]


class Unreadable(ValueError):
    """The assistant's text is not CoordJSON with the keys of every object in one order."""


def read(text: str) -> list[Shown]:
    """The objects of an assistant text, in order.

    Raises:
        Unreadable: a strict reader of neither field order accepts it.
    """
    errors = []
    for order in coordjson.ORDERS:
        try:
            entries = coordjson.strict(text, order).entries
        except coordjson.Broken as error:
            errors.append(error)
        else:
            return [Shown(e.desc, e.geometry, tuple(e.values), tuple(e.keys)) for e in entries]
    raise Unreadable(f"not CoordJSON: {errors[0]}")


def expected(record: Mapping[str, Any]) -> list[Shown]:
    """The objects that a record's text must show; desc without surrounding blanks."""
    shown = []
    for item in record["objects"]:
        key = next(k for k in GEOMETRY_KEYS if k in item)
        bins = tuple(b for b in map(bin_of, item[key]) if b is not None)
        shown.append(Shown(item["desc"].strip(), key, bins, ()))
    return shown


def dropped(record: Mapping[str, Any], text: str) -> Iterator[Problem]:
    """Objects or coordinates of the record that the text lacks, or has more often than once. Order is not judged."""
    try:
        found = Counter(_unordered(s) for s in read(text))
    except Unreadable as error:
        yield Problem(f"the rendered text cannot be read: {error}", "objects", "CoordJSON")
        return
    wanted = Counter(_unordered(s) for s in expected(record))
    for shown in sorted((wanted - found) | (found - wanted)):
        word = "is missing from" if wanted[shown] > found[shown] else "is in excess in"
        message = f"a {shown[1]} with {len(shown[2])} coordinates {word} the rendered text"
        yield Problem(message, "objects", wanted[shown], found[shown])


def _unordered(s: Shown) -> tuple[str, str, tuple[int, ...]]:
    return s.desc, s.geometry, tuple(sorted(s.bins))


def reordered(record: Mapping[str, Any], text: str, field_order: str, ordering: str) -> Iterator[Problem]:
    """Objects out of the record's order (where `ordering` is sorted), coordinates out of theirs, keys out of theirs."""
    try:
        found = read(text)
    except Unreadable as error:
        yield Problem(f"the rendered text cannot be read: {error}", "objects", "CoordJSON")
        return
    wanted = expected(record)
    if ordering == "sorted" and [s.desc for s in found] != [s.desc for s in wanted]:
        names = [s.desc for s in wanted], [s.desc for s in found]
        yield Problem("objects do not stand in the record's order", "objects", *names)
    kept = {(s.desc, s.geometry, s.bins) for s in wanted}
    for i, s in enumerate(found):
        if (s.desc, s.geometry, s.bins) not in kept:
            same = next((w for w in wanted if w.desc == s.desc), None)
            message = "coordinates do not stand in the record's order"
            yield Problem(message, f"objects[{i}].{s.geometry}", same and list(same.bins), list(s.bins))
        keys = ("desc", s.geometry) if field_order == "desc_first" else (s.geometry, "desc")
        if s.keys != keys:
            message = f"keys do not stand in the order {field_order}"
            yield Problem(message, f"objects[{i}]", list(keys), list(s.keys))
