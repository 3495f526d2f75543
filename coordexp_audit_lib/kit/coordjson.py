"""CoordJSON, written and read: the one grammar, in linear time and with exact spans.

CoordJSON is the assistant's text: `{"objects": [record, ...]}`; a record has `desc` (a JSON string) and one of
`bbox_2d` (4 coordinate tokens) and `poly` (an even number, at least 6), the tokens `<|coord_k|>`, k in 0..999, bare.
Text is read as characters, or as bytes where tokens may end inside a character; spans are half-open and count the same.

Each position is looked at a bounded number of times: the end of an object that was met once is remembered, so that a
failed container costs nothing again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Literal, NamedTuple

from coordexp_audit_lib.kit.boxes import is_ordered, token

Order = Literal["desc_first", "geometry_first"]
Span = tuple[int, int]

ORDERS: tuple[Order, ...] = ("desc_first", "geometry_first")
GEOMETRIES = ("bbox_2d", "poly")
REASONS = ("unexpected_keys", "missing_desc", "order_violation", "wrong_arity", "other")  # highest precedence first
OPENING = '{"objects": ['

_BLANK = r"[ \t\n\r]*"
_TOKEN = r"<\|coord_(?:0|[1-9][0-9]{0,2})\|>"
_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
BLANK = re.compile(_BLANK)
STRING = re.compile(_STRING, re.S)
HEAD = re.compile(rf'\{{{_BLANK}"objects"{_BLANK}:{_BLANK}\[')
COORDINATES = re.compile(rf"\[{_BLANK}(?:{_TOKEN}(?:{_BLANK},{_BLANK}{_TOKEN})*)?{_BLANK}\]")
SCALAR = re.compile(rf"{_STRING}|{_NUMBER}|true|false|null|{_TOKEN}", re.S)
_NUMERAL = re.compile(r"[0-9]+")
_STRUCTURE = re.compile(r'["{}]')
_EDGE = re.compile(r'["{}\[\],]')

FORM = "the text must be one closed container of closed records, each with desc and one geometry, and nothing else"


def array(values: Iterable[int]) -> str:
    """Coordinate tokens of bins, bare, in an array."""
    return "[" + ", ".join(map(token, values)) + "]"


def record(desc: str, geometry: str, values: Iterable[int], order: Order) -> str:
    """A record in canonical form."""
    pair = [f'"desc": {json.dumps(desc, ensure_ascii=False)}', f'"{geometry}": {array(values)}']
    return "{" + ", ".join(pair if order == "desc_first" else pair[::-1]) + "}"


def container(*records: str) -> str:
    """The container of some records' texts, in canonical form."""
    return OPENING + ", ".join(records) + "]}"


class Broken(Exception):
    """The text can't be read on from here: what is wrong and at which position."""

    def __init__(self, message: str, at: int) -> None:
        self.message, self.at = message, at
        super().__init__(f"{message} at character {at}; {FORM}")


class Defect(NamedTuple):
    """One thing wrong with an entry, and the reasons under which the contract allows to count it."""

    reasons: tuple[str, ...]
    message: str


class Member(NamedTuple):
    """A key of a record and where its value stands."""

    key: str
    start: int
    end: int


class Entry(NamedTuple):
    """One entry of the array.

    span: with its braces. defects: all that is wrong with it; none if it is valid (right keys in the right order, bare
    coordinates, right arity, a desc that is not blank). What follows says of an invalid one what could be read.
    desc_span: between the quotes. geometry_span: the array with its brackets.
    """

    span: Span
    defects: Sequence[Defect]
    desc_span: Span | None = None
    desc: str = ""
    geometry: str = ""
    values: Sequence[int] = ()
    keys: Sequence[str] = ()
    geometry_span: Span = (0, 0)

    @property
    def valid(self) -> bool:
        return not self.defects

    @property
    def box(self) -> list[int] | None:
        """The bins of a valid, ordered box; None for anything that a trainer can't use as one."""
        if not self.valid or self.geometry != "bbox_2d":
            return None
        return list(self.values) if is_ordered(self.values) else None


class Container(NamedTuple):
    """A container as it stands. opened: behind its `[`. end: behind its `}`, None if the text ends before it.

    entries: the complete ones. tail: the text ends inside one more.
    """

    start: int
    opened: int
    end: int | None
    entries: list[Entry]
    tail: bool


def salvage(text: str | bytes, order: Order) -> Container | None:
    """The first container whose array can be followed to its end or to the end of the text; junk around it is left."""
    source, at = Source(text), 0
    while (head := HEAD.search(source.text, at)) is not None:
        try:
            return _container(source, head.span(), order, strict=False)
        except Broken:
            at = head.start() + 1
    return None


def strict(text: str | bytes, order: Order) -> Container:
    """The container that is the whole text, every entry valid.

    Raises:
        Broken: the text is anything else.
    """
    source = Source(text)
    head = HEAD.match(source.text, source.skip(0))
    if head is None:
        raise Broken(f"the text does not start with {OPENING}", 0)
    found = _container(source, head.span(), order, strict=True)
    if found.end is None or source.skip(found.end) != len(source.text):
        raise Broken("the container is not the whole text", found.end or len(source.text))
    return found


def is_strict(text: str | bytes, order: Order) -> bool:
    """Whether a strict reader accepts the text."""
    with suppress(Broken):
        return bool(strict(text, order))
    return False


def admissible(defects: Sequence[Defect]) -> tuple[str, ...]:
    """The reasons under which an entry with these defects may be counted, most fitting first.

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
    """A text with the ends of its objects, each found once. Bytes are read as one character each."""

    def __init__(self, text: str | bytes) -> None:
        self.encoded = isinstance(text, bytes)
        self.text = text.decode("latin-1") if isinstance(text, bytes) else text
        self._ends: dict[int, int] = {}

    def skip(self, at: int) -> int:
        """The first position from `at` on that is not JSON whitespace."""
        return BLANK.match(self.text, at).end()  # type: ignore[union-attr]

    def char(self, at: int) -> str:
        """The character at a position, empty behind the end."""
        return self.text[at : at + 1]

    def string(self, literal: str, at: int) -> str:
        """What a string's literal says; of bytes, what is no UTF-8 becomes the replacement sign."""
        if self.encoded:
            literal = literal.encode("latin-1").decode("utf-8", "replace")
        try:
            return str(json.loads(literal))
        except ValueError as error:
            raise Broken("not a JSON string", at) from error

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
                quoted = STRING.match(self.text, at)
                if quoted is None:
                    return None
                at = quoted.end()
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
                quoted = STRING.match(self.text, at, end)
                if quoted is None:
                    raise Broken("a string is not closed", at)
                at = quoted.end()
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
            found.append(Member(self.string(key.group(), at), value, stop))
            at = self.skip(stop)
            if at == end - 1:
                return found
            at = self.skip(at + 1)  # value_end stopped at a comma


def _container(source: Source, head: Span, order: Order, *, strict: bool) -> Container:
    """Read the array from behind its `[`; what can't be an array any more is `Broken`."""
    entries, tail, at = list[Entry](), False, source.skip(head[1])
    while source.char(at) not in ("", "]") or (strict and entries):
        entry = _entry(source, at, order, len(entries), strict=strict)
        tail = entry is None
        if entry is None:
            at = len(source.text)
            break
        entries.append(entry)
        at = source.skip(entry.span[1])
        if source.char(at) != ",":
            break
        at = source.skip(at + 1)  # a comma too many costs no record in salvage
    return Container(*head, _end(source, at, strict=strict), entries, tail)


def _end(source: Source, at: int, *, strict: bool) -> int | None:
    """Behind `]}`; where the text ends before it, None in salvage."""
    for closer in "]}":
        at = source.skip(at)
        found = source.char(at)
        if found == "" and not strict:
            return None
        if found != closer:
            raise Broken(f"{closer} is missing", at)
        at += 1
    return at


def _entry(source: Source, at: int, order: Order, index: int, *, strict: bool) -> Entry | None:
    """One entry of the array; None where the text ends inside it. A stray value is an invalid record to salvage."""
    if source.char(at) != "{":
        if strict or not (source.char(at) == "[" or SCALAR.match(source.text, at)):
            raise Broken(f"objects[{index}] is not a record", at)
        return Entry((at, source.value_end(at, len(source.text), "]")), [Defect(REASONS, "not an object")])
    end = source.object_end(at)
    if end is None and strict:
        raise Broken(f"objects[{index}] is not closed", at)
    if end is None:
        return None
    entry = read_record(source, (at, end), order)
    if strict and not entry.valid:
        raise Broken(f"objects[{index}]: {'; '.join(d.message for d in entry.defects)}", at)
    return entry


def read_record(source: Source, span: Span, order: Order) -> Entry:
    """Read the object that `span` cuts: what it says, or all that is wrong with it."""
    try:
        members = source.members(*span)
    except Broken as error:  # what can't be read has no keys to speak of: any name will do
        return Entry(span, [Defect(REASONS, str(error))])
    descs = [m for m in members if m.key == "desc"]
    shapes = [m for m in members if m.key in GEOMETRIES]
    defects = _key_defects(members, descs, shapes)
    if len(descs) == len(shapes) == 1 and len(members) == 2:
        wanted = [descs[0], shapes[0]] if order == "desc_first" else [shapes[0], descs[0]]
        if members != wanted:
            defects.append(Defect(("order_violation",), f"its keys are not {order}"))
    said = [_desc(source, m, defects) for m in descs]
    bins = [_coordinates(source, m, defects) for m in shapes]
    quoted = next(((m.start + 1, m.end - 1) for m in descs if source.char(m.start) == '"'), None)
    said, bins = said or [""], bins or [[]]
    keys = [m.key for m in members]
    geometry, shape = (shapes[0].key, (shapes[0].start, shapes[0].end)) if shapes else ("", (0, 0))
    return Entry(span, defects, quoted, said[0], geometry, bins[0], keys, shape)


def _key_defects(members: list[Member], descs: list[Member], shapes: list[Member]) -> list[Defect]:
    unknown = [m.key for m in members if m not in descs and m not in shapes]
    checks = (
        (bool(unknown), ("unexpected_keys",), f"unknown keys {unknown}"),
        (not descs, ("missing_desc",), "desc is missing"),
        (len(descs) > 1, ("unexpected_keys", "missing_desc"), "desc stands more than once"),
        (not shapes, ("unexpected_keys", "wrong_arity", "other"), "bbox_2d or poly is missing"),
        (len(shapes) > 1, ("unexpected_keys", "other"), "more than one geometry"),
    )
    return [Defect(reasons, message) for wrong, reasons, message in checks if wrong]


def _desc(source: Source, member: Member, defects: list[Defect]) -> str:
    literal = source.text[member.start : member.end] if source.char(member.start) == '"' else ""
    try:
        if not STRING.fullmatch(literal):
            raise Broken("desc is not a string", member.start)
        desc = source.string(literal, member.start)
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
    bins = [int(b) for b in _NUMERAL.findall(found.group())]
    fits = len(bins) == 4 if member.key == "bbox_2d" else len(bins) >= 6 and len(bins) % 2 == 0
    if not fits:
        defects.append(Defect(("wrong_arity",), f"{member.key} has {len(bins)} coordinates"))
    return bins
