"""Cooked datasets as files: JSON lines of any size, judged in one pass and constant memory."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from coordexp_audit_lib.boundaries.geometry.predicates.records import (
    BOX_VALUES,
    GEOMETRY_KEYS,
    LEAST_POLY_VALUES,
    Ordering,
    Record,
)
from coordexp_audit_lib.core.claim import Claim, Ledger, claims_on
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.evidence import Evidence, Where
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import Artifact, Sheet, finding_of
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.boxes import BIN_COUNT, BIN_OF_TOKEN, TOKENS, top_left

CONTRACT, IN_RANGE, ORDERED, UNSORTED = (
    f"geometry.{name}" for name in ("record_contract", "bins_in_range", "box_ordered", "never_reordered")
)
MAX_LINE = 64 << 20
REMEDY = "give a JSONL file, one record a line"


def audit_data(
    path: Path, ordering: Ordering = "random", progress: Callable[[int], object] | None = None
) -> list[Finding]:
    """Judge every record of a JSONL file whose coordinates are bins; `config` names the file.

    Args:
        path: the file. ordering: `sorted` also judges the objects' top-left order (`geometry.never_reordered`).
        progress: called with the number of bytes that were read.

    Raises:
        UsageError: the file cannot be read, or a line is longer than `MAX_LINE`.
    """
    artifact = Artifact(Record(None), path.name, path.name, evidence=lambda: [Evidence("artifact", path=path.name)])
    chosen = [c for c in claims_on(Record, "geometry") if ordering == "sorted" or c.id != UNSORTED]
    columns = {c.id: Column(c, path.name) for c in chosen}
    sound = dict.fromkeys((CONTRACT, IN_RANGE, ORDERED, UNSORTED), 0)
    for number, line in _lines(path, progress):
        counts = sound_counts(line, ordering)
        if counts is not None:
            for name, count in zip(sound, counts, strict=True):
                sound[name] += count
            continue
        told = read_line(line)
        for column in columns.values():
            column.judge(told, number, ordering)
    for name, column in columns.items():
        column.close(sound[name])
    return [finding_of(artifact, column.claim, column.sheet) for column in columns.values()]


def _lines(path: Path, progress: Callable[[int], object] | None) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise UsageError(f"line {number} is longer than {MAX_LINE} bytes", where=str(path), remedy=REMEDY)
                if progress:
                    progress(len(line))
                if line.strip():
                    yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path), remedy=REMEDY) from error


class Column:
    """One claim over the lines of a file: its sheet, and the first line of which a part could not be judged."""

    def __init__(self, claim: Claim, file: str) -> None:
        self.claim, self.file, self.sheet = claim, file, Sheet()
        self.first, self.others = ("", ""), 0

    def judge(self, told: Line, number: int, ordering: Ordering) -> None:
        """Judge one line; what can't be judged of it is counted, and the first is remembered."""
        mine = Ledger()
        self.sheet.take(lambda: self._found(told, number, Record(told.value, "bins", ordering), mine))
        self.sheet.ledger.judged(mine.checked)
        if mine.unjudged:
            self.others += bool(self.first[0])
            self.first = self.first if self.first[0] else (f"line {number}", mine.unjudged[0])

    def _found(self, told: Line, number: int, record: Record, mine: Ledger) -> Iterator[Problem]:
        for p in line_problems(told, self.claim, record, mine):
            yield msgspec.structs.replace(p, where=Where(self.file, number, p.subject))

    def close(self, sound: int) -> None:
        """Add the cases of the lines that were sound, and say what was left out."""
        self.sheet.ledger.judged(sound)
        if self.first[0]:
            self.sheet.ledger.left_out(*self.first)
        if self.others:
            self.sheet.ledger.left_out(f"parts of {self.others} more line{'s' if self.others > 1 else ''}")


# ---- a line that is not sound at first sight -----------------------------------------------------------------------


class Line(msgspec.Struct, frozen=True):
    """A line read with care. value: what it holds. twice: keys that stand twice in one object. error: it is no JSON."""

    value: Any = None
    twice: tuple[str, ...] = ()
    error: str = ""


def line_problems(told: Line, claim: Claim, record: Record, ledger: Ledger) -> Iterator[Problem]:
    """What is wrong with a line by one claim; that it is JSON, and says each thing once, is the contract's."""
    if claim.id == CONTRACT:
        yield from (Problem("a key stands twice in one object", key, 1, 2) for key in told.twice)
        if told.error:
            ledger.judged()
            yield Problem(f"the line is no JSON: {told.error}", "", "one JSON object")
            return
    elif told.error:
        ledger.left_out("it is no JSON")
        return
    elif {"objects", *GEOMETRY_KEYS}.intersection(told.twice):
        ledger.left_out("a key stands twice in one object, and only the last was read")
    yield from claim.predicates[Record](record, ledger)


def read_line(line: bytes) -> Line:
    """Read a line with Python's own parser, which can tell of a key that stands twice."""
    twice: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(items)
        if len(made) != len(items):
            names = [k for k, _ in items]
            twice.extend(sorted({k for k in names if names.count(k) > 1}))
        return made

    try:
        value = json.loads(line, object_pairs_hook=pairs, parse_constant=lambda word: word)
    except (ValueError, RecursionError) as error:
        return Line(error=str(error))
    return Line(value, tuple(twice))


# ---- a line that is ------------------------------------------------------------------------------------------------

_Coordinate = Literal[TOKENS] | Annotated[int, msgspec.Meta(ge=0, le=999)]  # type: ignore[valid-type]
_Box = Annotated[list[_Coordinate], msgspec.Meta(min_length=BOX_VALUES, max_length=BOX_VALUES)]
_Poly = Annotated[list[_Coordinate], msgspec.Meta(min_length=LEAST_POLY_VALUES)]
_Size = Annotated[int, msgspec.Meta(gt=0)]


class _Object(msgspec.Struct, gc=False):
    desc: str
    bbox_2d: _Box | msgspec.UnsetType = msgspec.UNSET
    poly: _Poly | msgspec.UnsetType = msgspec.UNSET
    bbox: Any = msgspec.UNSET
    polygon: Any = msgspec.UNSET


class _Record(msgspec.Struct):
    images: list[str]
    objects: list[_Object]
    width: _Size
    height: _Size


_BIN_OF: dict[Any, int] = {**BIN_OF_TOKEN, **{k: k for k in range(BIN_COUNT)}}
_DECODER = msgspec.json.Decoder(_Record)
_ESCAPED_ASCII = re.compile(rb"\\u00[2-7]")
_TOP_KEYS = (b'"images"', b'"objects"', b'"width"', b'"height"')


def sound_counts(line: bytes, ordering: Ordering = "random") -> tuple[int, int, int, int] | None:
    """How many records, coordinates, boxes and orders a sound line has; None where it must be read with care.

    A sound line costs one typed decode (`msgspec`, coordinates as a `Literal` of the 1000 tokens), a few byte counts,
    and one look at each object for what types cannot say.
    """
    try:
        record = _DECODER.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return _counts(record.objects, ordering == "sorted") if _each_key_once(line, len(record.objects)) else None


def _counts(objects: list[_Object], compares: bool) -> tuple[int, int, int, int] | None:
    unset, known = msgspec.UNSET, _BIN_OF
    before, boxes, vertices = (-1.0, -1.0), 0, 0
    for item in objects:
        box, poly = item.bbox_2d, item.poly
        if (box is unset) == (poly is unset) or item.bbox is not unset or item.polygon is not unset:
            return None
        if box is not unset:
            x1, y1, x2, y2 = box  # type: ignore[misc]
            if known[x2] < known[x1] or known[y2] < known[y1]:
                return None
            boxes += 1
            anchor: tuple[float, float] = (known[y1], known[x1])
        else:
            if len(poly) % 2:  # type: ignore[arg-type]
                return None
            vertices += len(poly)  # type: ignore[arg-type]
            anchor = top_left([known[v] for v in poly]) if compares else before  # type: ignore[union-attr]
        if compares and anchor < before:
            return None
        before = anchor
    return 1, BOX_VALUES * boxes + vertices, boxes, int(compares and len(objects) > 1)


def _each_key_once(line: bytes, objects: int) -> bool:
    """Whether no key can stand twice: a typed decode takes the last of two without a word.

    Where each colon follows a quote and there are as many as needed keys, there is room for no other key. Otherwise
    keys are counted by name; where a key is not written as often as expected, or an escaped ASCII character could
    spell one, the line is read with care.
    """
    if b"\\" not in line and line.count(b":") == line.count(b'":') == len(_TOP_KEYS) + 2 * objects:
        return True
    if _ESCAPED_ASCII.search(line):
        return False
    geometries = line.count(b'"bbox_2d"') + line.count(b'"poly"')
    return geometries == objects == line.count(b'"desc"') and all(line.count(k) == 1 for k in _TOP_KEYS)
