"""CoordJSON's grammar: tokens, balanced objects and records, with every defect of a record named.

Each position is looked at a bounded number of times: the end of an object that was met once is remembered,
so that a failed container costs nothing again.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from coordexp_audit_lib.boundaries.coordjson.contract import Order, Record

REASONS = ("unexpected_keys", "missing_desc", "order_violation", "wrong_arity", "other")  # highest precedence first
GEOMETRIES = ("bbox_2d", "poly")

_BLANK = r"[ \t\n\r]*+"
_TOKEN = r"<\|coord_(?:0|[1-9][0-9]{0,2})\|>"
BLANK = re.compile(_BLANK)
STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.S)
HEAD = re.compile(rf'\{{{_BLANK}"objects"{_BLANK}:{_BLANK}\[')
COORDINATES = re.compile(rf"\[{_BLANK}(?:{_TOKEN}(?:{_BLANK},{_BLANK}{_TOKEN})*+)?+{_BLANK}\]")
_NUMBER = r"-?[0-9]++(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+"
SCALAR = re.compile(rf'"(?:[^"\\]++|\\.)*+"|{_NUMBER}|true|false|null|{_TOKEN}', re.S)
BIN = re.compile(r"[0-9]+")
_STRUCTURE = re.compile(r'["{}]')
_EDGE = re.compile(r'["{}\[\],]')


FORM = "the text must be one closed container of closed records, each with desc and one geometry, and nothing else"


class Broken(Exception):
    """The text can't be read on from here: what is wrong and at which character."""

    def __init__(self, message: str, at: int) -> None:
        self.message, self.at = message, at
        super().__init__(f"{message} at character {at}; {FORM}")


class Defect(NamedTuple):
    """One thing wrong with a record, and the reasons under which the contract allows to count it."""

    reasons: tuple[str, ...]
    message: str


class Member(NamedTuple):
    """A key of a record and where its value stands."""

    key: str
    start: int
    end: int


def admissible(defects: list[Defect]) -> tuple[str, ...]:
    """The reasons under which a record with these defects may be counted, most fitting first.

    One record has one reason: that of its defect with the highest precedence. Where the contract leaves open
    how a defect is called, each of its names may be the one.
    """
    rank = {reason: i for i, reason in enumerate(REASONS)}
    lowest = [max(rank[r] for r in d.reasons) for d in defects]
    found = set()
    for i, defect in enumerate(defects):
        ceiling = min([n for j, n in enumerate(lowest) if j != i], default=len(REASONS))
        found |= {r for r in defect.reasons if rank[r] <= ceiling}
    return tuple(sorted(found, key=rank.__getitem__))


class Source:
    """A text with the ends of its objects, each found once."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._ends: dict[int, int] = {}

    def skip(self, at: int) -> int:
        """The first position from `at` on that is not JSON whitespace."""
        return BLANK.match(self.text, at).end()  # type: ignore[union-attr]

    def char(self, at: int) -> str:
        """The character at a position, empty behind the end."""
        return self.text[at : at + 1]

    def object_end(self, start: int) -> int | None:
        """Behind the `}` that closes the `{` at `start`; braces in strings don't count. None if nothing closes it."""
        if start in self._ends:
            return self._ends[start]
        opened, at = [start], start + 1
        while opened:
            found = _STRUCTURE.search(self.text, at)
            if found is None:
                return None
            at = found.start()
            if found.group() == '"':
                string = STRING.match(self.text, at)
                if string is None:
                    return None
                at = string.end()
            elif found.group() == "{":
                known = self._ends.get(at)
                if known is None:
                    opened.append(at)
                at = known or at + 1
            else:
                at += 1
                self._ends[opened.pop()] = at
        return at

    def value_end(self, start: int, end: int, closer: str) -> int:
        """Behind the value at `start`: it runs to the next comma or `closer` outside of brackets and strings."""
        at, depth = start, 0
        while (found := _EDGE.search(self.text, at, end)) is not None:
            mark, at = found.group(), found.start()
            if depth == 0 and mark in (",", closer):
                return self._trimmed(start, at)
            if mark == '"':
                string = STRING.match(self.text, at, end)
                if string is None:
                    raise Broken("a string is not closed", at)
                at = string.end()
            elif mark == "{":
                inner = self.object_end(at)
                if inner is None or inner > end:
                    raise Broken("an object is not closed", at)
                at = inner
            else:
                depth += {"[": 1, "]": -1}.get(mark, 0)
                if depth < 0 or mark == "}":
                    raise Broken("brackets do not match", at)
                at += 1
        raise Broken("a value does not end", start)

    def _trimmed(self, start: int, stop: int) -> int:
        while stop > start and self.text[stop - 1] in " \t\n\r":
            stop -= 1
        if stop == start:
            raise Broken("a value is missing", start)
        return stop

    def members(self, start: int, end: int) -> list[Member]:
        """Keys and value spans of the object that `start` and `end` cut."""
        found: list[Member] = []
        at = self.skip(start + 1)
        if at == end - 1:
            return found
        while True:
            key = STRING.match(self.text, at, end)
            if key is None:
                raise Broken("a key is missing", at)
            colon = self.skip(key.end())
            if self.char(colon) != ":":
                raise Broken("a colon is missing", colon)
            value = self.skip(colon + 1)
            stop = self.value_end(value, end, "}")
            found.append(Member(_string(key.group(), at), value, stop))
            at = self.skip(stop)
            if at == end - 1:
                return found
            at = self.skip(at + 1)  # value_end stopped at a comma


def _string(literal: str, at: int) -> str:
    try:
        return str(json.loads(literal))
    except ValueError as error:
        raise Broken("not a JSON string", at) from error


def read_record(source: Source, span: tuple[int, int], order: Order, index: int) -> tuple[Record | None, list[Defect]]:
    """Read one record: either it, or all that is wrong with it."""
    try:
        members = source.members(*span)
    except Broken as error:
        return None, [Defect(REASONS, str(error))]  # what can't be read has no keys to speak of: any name will do
    descs = [m for m in members if m.key == "desc"]
    shapes = [m for m in members if m.key in GEOMETRIES]
    defects = _key_defects(members, descs, shapes)
    if len(descs) == len(shapes) == 1 and len(members) == 2:
        wanted = [descs[0], shapes[0]] if order == "desc_first" else [shapes[0], descs[0]]
        if members != wanted:
            defects.append(Defect(("order_violation",), f"its keys are not {order}"))
    said = [_desc(source, m, defects) for m in descs]
    bins = [_coordinates(source, m, defects) for m in shapes]
    if defects:
        return None, defects
    keys = [m.key for m in members]
    shape = shapes[0]
    return Record(index, said[0], shape.key, bins[0], keys, span, (shape.start, shape.end)), []


def _key_defects(members: list[Member], descs: list[Member], shapes: list[Member]) -> list[Defect]:
    defects = []
    unknown = [m.key for m in members if m not in descs and m not in shapes]
    if unknown:
        defects.append(Defect(("unexpected_keys",), f"unknown keys {unknown}"))
    if not descs:
        defects.append(Defect(("missing_desc",), "desc is missing"))
    if len(descs) > 1:
        defects.append(Defect(("unexpected_keys", "missing_desc"), "desc stands more than once"))
    if not shapes:
        defects.append(Defect(("unexpected_keys", "wrong_arity", "other"), "bbox_2d or poly is missing"))
    if len(shapes) > 1:
        defects.append(Defect(("unexpected_keys", "other"), "more than one geometry"))
    return defects


def _desc(source: Source, member: Member, defects: list[Defect]) -> str:
    literal = source.text[member.start : member.end] if source.char(member.start) == '"' else ""
    if not STRING.fullmatch(literal):
        defects.append(Defect(("missing_desc", "other"), "desc is not a string"))
        return ""
    try:
        desc = _string(literal, member.start)
    except Broken as error:
        defects.append(Defect(("missing_desc", "other"), str(error)))
        return ""
    if not desc.strip():
        defects.append(Defect(("missing_desc",), "desc is empty"))
    return desc


def _coordinates(source: Source, member: Member, defects: list[Defect]) -> list[int]:
    found = COORDINATES.fullmatch(source.text, member.start, member.end)
    if found is None:
        defects.append(Defect(("wrong_arity", "other"), f"{member.key} is not a flat array of bare coordinate tokens"))
        return []
    bins = [int(b) for b in BIN.findall(found.group())]
    fits = len(bins) == 4 if member.key == "bbox_2d" else len(bins) >= 6 and len(bins) % 2 == 0
    if not fits:
        defects.append(Defect(("wrong_arity",), f"{member.key} has {len(bins)} coordinates"))
    return bins
