"""Cooked datasets as files: JSON lines of any size, judged in one pass and constant memory."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.geometry.predicates.records import GEOMETRY_KEYS, Ordering, Record
from coordexp_audit_lib.core.claim import Claim, Ledger, claims_on
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.evidence import Evidence, Where
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import Artifact, finding_of, sheet_for
from coordexp_audit_lib.core.problem import Problem

CONTRACT, UNSORTED = "geometry.record_contract", "geometry.never_reordered"
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
    columns = [Column(c, path.name) for c in chosen]
    for number, line in _lines(path, progress):
        told = quick_line(line) or read_line(line)
        record = Record(told.value, "bins", ordering)
        for column in columns:
            column.judge(told, number, record)
    for column in columns:
        column.close()
    return [finding_of(artifact, column.sheet) for column in columns]


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
        self.claim, self.file, self.sheet = claim, file, sheet_for(claim)
        self.first, self.others = ("", ""), 0

    def judge(self, told: Line, number: int, record: Record) -> None:
        """Judge one line; what can't be judged of it is counted, and the first is remembered."""
        mine = Ledger()
        self.sheet.take(lambda: self._found(told, number, record, mine))
        self.sheet.ledger.judged(mine.checked)
        if mine.unjudged:
            self.others += bool(self.first[0])
            self.first = self.first if self.first[0] else (f"line {number}", mine.unjudged[0])

    def _found(self, told: Line, number: int, record: Record, mine: Ledger) -> Iterator[Problem]:
        for p in line_problems(told, self.claim, record, mine):
            yield msgspec.structs.replace(p, where=Where(self.file, number, p.subject))

    def close(self) -> None:
        """Say what was left out."""
        if self.first[0]:
            self.sheet.ledger.left_out(*self.first)
        if self.others:
            self.sheet.ledger.left_out(f"parts of {self.others} more line{'s' if self.others > 1 else ''}")


# ---- a line read with care -----------------------------------------------------------------------------------------


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


# ---- a line that is sound at first sight ---------------------------------------------------------------------------

_ESCAPED_ASCII = re.compile(rb"\\u00[2-7]")
_TOP_KEYS = (b'"images"', b'"objects"', b'"width"', b'"height"')


def quick_line(line: bytes) -> Line | None:
    """The line by a faster parser, which judges nothing; None where it must be read with care."""
    try:
        value = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    objects = value.get("objects") if isinstance(value, dict) else None
    return Line(value) if isinstance(objects, list) and _each_key_once(line, value, objects) else None


def _each_key_once(line: bytes, value: dict[str, Any], objects: list[Any]) -> bool:
    """Whether no key stands twice: the faster parser takes the last of two without a word.

    Each key needs a colon: where the line has no more of them than keys were read, none was lost. Otherwise keys are
    counted by name; where a key is not written as often as expected, or an escaped ASCII character could spell one, the
    line is read with care.
    """
    try:
        if line.count(b":") == len(value) + sum(map(dict.__len__, objects)):
            return True
    except TypeError:  # an object that is none
        return False
    if _ESCAPED_ASCII.search(line):
        return False
    geometries = line.count(b'"bbox_2d"') + line.count(b'"poly"')
    once = geometries == len(objects) == line.count(b'"desc"')
    return once and all(line.count(k) == 1 for k in _TOP_KEYS)
