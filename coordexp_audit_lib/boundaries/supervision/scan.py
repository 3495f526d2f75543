"""A small reader of CoordJSON in bytes: where records, descriptions and coordinates stand, and whether all is strict.

Bytes, not characters, because a BPE token may end inside a character. JSON's own signs are ASCII, so nothing is lost.
"""

from __future__ import annotations

import json
import re

import msgspec

from coordexp_audit_lib.boundaries.supervision.contract import Order

Span = tuple[int, int]

_STRING = rb'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"'
_COORD = rb"<\|coord_(0|[1-9][0-9]{0,2})\|>"
_ARRAY = rb"\[\s*" + _COORD + rb"(?:\s*,\s*" + _COORD + rb")*\s*\]"
_GEOMETRY = rb'"(?P<key>bbox_2d|poly)"\s*:\s*(?P<array>' + _ARRAY + rb")"
_DESC = rb'"desc"\s*:\s*(?P<desc>' + _STRING + rb")"
_RECORD = {
    "desc_first": re.compile(rb"\{\s*" + _DESC + rb"\s*,\s*" + _GEOMETRY + rb"\s*\}"),
    "geometry_first": re.compile(rb"\{\s*" + _GEOMETRY + rb"\s*,\s*" + _DESC + rb"\s*\}"),
}
_OPEN = re.compile(rb'\{\s*"objects"\s*:\s*\[')
_VALUES = re.compile(_COORD)
_LOOSE_DESC = re.compile(rb'"desc"\s*:\s*"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SPACE = b" \t\r\n"


class Record(msgspec.Struct, frozen=True):
    """One entry of the array, with its braces. `desc` cuts the text between the quotes; null if there is none.

    valid: strict (right keys in the right order, bare coordinates, right arity, a description that is not blank).
    """

    span: Span
    desc: Span | None
    text: str
    key: str
    values: list[int]
    valid: bool

    @property
    def box(self) -> list[int] | None:
        """The bins of a valid, ordered box; null for anything that the trainer can't use."""
        if not self.valid or self.key != "bbox_2d":
            return None
        x1, y1, x2, y2 = self.values
        return self.values if x1 <= x2 and y1 <= y2 else None


class Container(msgspec.Struct, frozen=True):
    """The first `{"objects": [` of a text. `opened` is the end of it, `closed` the end of the whole, null if it is cut.

    sound: between opening and closing nothing but records, commas and space, as strict reading wants it.
    """

    start: int
    opened: int
    closed: int | None
    records: list[Record]
    sound: bool


def container(text: bytes, order: Order) -> Container | None:
    """The first container whose array can be followed to its end or to the end of the text."""
    for found in _OPEN.finditer(text):
        made = _follow(text, found.start(), found.end(), order)
        if made is not None:
            return made
    return None


def strict(text: bytes, order: Order) -> Container | None:
    """The container if the whole text is one that a strict reader accepts, else null."""
    found = container(text, order)
    whole = found is not None and found.closed is not None and found.sound and all(r.valid for r in found.records)
    if found is None or not whole or found.closed is None:
        return None
    return found if not text[: found.start].strip(_SPACE) and not text[found.closed :].strip(_SPACE) else None


def _follow(text: bytes, start: int, opened: int, order: Order) -> Container | None:
    at, records, sound, wants_record = _skip(text, opened), list[Record](), True, False
    while at < len(text) and text[at] != ord("]"):
        if text[at] != ord("{"):
            return None
        end = object_end(text, at)
        if end is None:
            return Container(start, opened, None, records, sound)
        records.append(_record(text, at, end, order))
        at = _skip(text, end)
        wants_record = at < len(text) and text[at] == ord(",")
        if wants_record:
            at = _skip(text, at + 1)
        elif at < len(text) and text[at] != ord("]"):
            return None
    if at >= len(text):
        return Container(start, opened, None, records, sound)
    sound = not wants_record
    at = _skip(text, at + 1)
    if at >= len(text):
        return Container(start, opened, None, records, sound)
    return Container(start, opened, at + 1, records, sound) if text[at] == ord("}") else None


def object_end(text: bytes, start: int) -> int | None:
    """The end of the object that opens at `start`, by counting braces outside strings."""
    depth, in_string, escaped = 0, False, False
    for i in range(start, len(text)):
        c = text[i]
        if in_string:
            escaped, in_string = c == 92 and not escaped, not (c == 34 and not escaped)
        elif c == 34:
            in_string = True
        elif c == 123:
            depth += 1
        elif c == 125:
            depth -= 1
            if depth == 0:
                return i + 1
    return None


def _record(text: bytes, start: int, end: int, order: Order) -> Record:
    found = _RECORD[order].fullmatch(text, start, end)
    if found is None:
        loose = _LOOSE_DESC.search(text, start, end)
        return Record((start, end), loose.span(1) if loose else None, "", "", [], False)
    first, last = found.span("desc")
    desc = json.loads(found["desc"].decode("utf-8", "replace"))
    values = [int(k) for k in _VALUES.findall(found["array"])]
    key = found["key"].decode()
    arity = len(values) == 4 if key == "bbox_2d" else len(values) >= 6 and len(values) % 2 == 0
    return Record((start, end), (first + 1, last - 1), desc, key, values, arity and bool(desc.strip()))


def _skip(text: bytes, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at
