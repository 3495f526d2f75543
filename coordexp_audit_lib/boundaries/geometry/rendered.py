"""Reading the assistant's text, and comparing it with the record it was made of.

The text is CoordJSON: JSON whose geometry arrays hold bare coordinate tokens. The reader quotes tokens outside strings
and then uses a JSON parser; it keeps key order and repeated keys.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.geometry.bins import BIN_OF_TOKEN, Problem, bin_of
from coordexp_audit_lib.boundaries.geometry.records import GEOMETRY_KEYS

DROPPED, REORDERED = "geometry.never_dropped", "geometry.never_reordered"
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|<\|coord_\d+\|>')


class Shown(msgspec.Struct, frozen=True):
    """One object of a text or a record: desc, geometry key, bins in order, and its keys in order."""

    desc: str
    geometry: str
    bins: tuple[int, ...]
    keys: tuple[str, ...]


class Unreadable(ValueError):
    """The assistant's text is not CoordJSON of the expected shape."""


def read(text: str) -> list[Shown]:
    """The objects of an assistant text, in order.

    Raises:
        Unreadable: it is no CoordJSON, or an object has not exactly desc and one geometry of known tokens.
    """
    quoted = _PIECE.sub(lambda m: m.group() if m.group()[0] == '"' else f'"{m.group()}"', text)
    try:
        top = json.loads(quoted, object_pairs_hook=list)
        ((key, objects),) = top
        if key != "objects":
            raise Unreadable("its one key is not objects")
        return [_shown(pairs) for pairs in objects]
    except (ValueError, TypeError) as error:
        raise Unreadable(f"not CoordJSON: {error}") from error


def _shown(pairs: list[tuple[str, Any]]) -> Shown:
    keys = tuple(k for k, _ in pairs)
    fields = dict(pairs)
    geometry = [k for k in GEOMETRY_KEYS if k in fields]
    if len(geometry) != 1 or len(keys) != 2 or not isinstance(fields.get("desc"), str):
        raise Unreadable(f"an object has the keys {keys}")
    bins = [BIN_OF_TOKEN.get(v) for v in fields[geometry[0]]]
    if any(b is None for b in bins):
        raise Unreadable("a coordinate is no token")
    return Shown(fields["desc"], geometry[0], tuple(b for b in bins if b is not None), keys)


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
        yield Problem(DROPPED, "objects", f"the rendered text cannot be read: {error}", "CoordJSON", None)
        return
    wanted = Counter(_unordered(s) for s in expected(record))
    for shown in sorted((wanted - found) | (found - wanted)):
        word = "is missing from" if wanted[shown] > found[shown] else "is in excess in"
        message = f"a {shown[1]} with {len(shown[2])} coordinates {word} the rendered text"
        yield Problem(DROPPED, "objects", message, wanted[shown], found[shown])


def _unordered(s: Shown) -> tuple[str, str, tuple[int, ...]]:
    return s.desc, s.geometry, tuple(sorted(s.bins))


def reordered(record: Mapping[str, Any], text: str, field_order: str, ordering: str) -> Iterator[Problem]:
    """Objects out of the record's order (where `ordering` is sorted), coordinates out of theirs, keys out of theirs."""
    try:
        found = read(text)
    except Unreadable as error:
        yield Problem(REORDERED, "objects", f"the rendered text cannot be read: {error}", "CoordJSON", None)
        return
    wanted = expected(record)
    if ordering == "sorted" and [s.desc for s in found] != [s.desc for s in wanted]:
        names = [s.desc for s in wanted], [s.desc for s in found]
        yield Problem(REORDERED, "objects", "objects do not stand in the record's order", *names)
    kept = {(s.desc, s.geometry, s.bins) for s in wanted}
    for i, s in enumerate(found):
        if (s.desc, s.geometry, s.bins) not in kept:
            same = next((w for w in wanted if w.desc == s.desc), None)
            message = "coordinates do not stand in the record's order"
            yield Problem(REORDERED, f"objects[{i}].{s.geometry}", message, _list(same), list(s.bins))
        keys = ("desc", s.geometry) if field_order == "desc_first" else (s.geometry, "desc")
        if s.keys != keys:
            message = f"keys do not stand in the order {field_order}"
            yield Problem(REORDERED, f"objects[{i}]", message, list(keys), list(s.keys))


def _list(shown: Shown | None) -> Sequence[int] | None:
    return list(shown.bins) if shown else None
