"""Datasets as files, of any size and of the forms that people have, judged record by record in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.geometry.artifact.files import Text, texts
from coordexp_audit_lib.boundaries.geometry.artifact.lines import Line, quick_line, read_line
from coordexp_audit_lib.boundaries.geometry.predicates.grounding import FORMS, TITLES, Talk, form_of
from coordexp_audit_lib.boundaries.geometry.predicates.records import GEOMETRY_KEYS, Ordering, Record
from coordexp_audit_lib.core.claim import Claim, Ledger, claims_on
from coordexp_audit_lib.core.evidence import Evidence, Where
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import Artifact, finding_of, sheet_for
from coordexp_audit_lib.core.problem import Problem

CONTRACT, UNSORTED = "geometry.record_contract", "geometry.never_reordered"
LOOKED_AT = 32  # records of which the first of a known form tells the file's


def audit_data(
    path: Path,
    ordering: Ordering = "random",
    progress: Callable[[int], object] | None = None,
    *,
    form: str = "",
    frame: str = "",
) -> list[Finding]:
    """Judge every record of a data file; `config` names the file, and the evidence says what it was taken for.

    Args:
        path: the file; packed or plain, lines or one JSON array or COCO object (`artifact.files`).
        ordering: `sorted` also judges the objects' top-left order (`geometry.never_reordered`) of that form.
        progress: called with the number of bytes that were read.
        form: one of `grounding.FORMS`; by default that of the first record that has one.
        frame: `real`, `norm1` or `norm1000`, of boxes that do not say theirs.

    Raises:
        UsageError: the file cannot be read, is no data, or a line is longer than `files.MAX_LINE`.
    """
    stream = texts(path, progress)
    looked, form = _looked_at(stream, form)
    kind: type[Record] | type[Talk] = Record if form == "objects" else Talk
    facts = [Evidence("artifact", path=path.name), Evidence("fact", symbol="read as", value=TITLES[form])]
    artifact = Artifact(Record(None), path.name, path.name, evidence=lambda: facts)
    chosen = [c for c in claims_on(kind, "geometry") if ordering == "sorted" or c.id != UNSORTED]
    columns = [Column(c, path.name) for c in chosen]
    for text in chain(looked, stream):
        told = Line(error=text.broken) if text.broken else quick_line(text.line) or read_line(text.line)
        record = (
            Record(told.value, "bins", ordering, relative=True) if kind is Record else Talk(told.value, form, frame)
        )
        for column in columns:
            column.judge(told, text.number, record)
    for column in columns:
        column.close()
    return [finding_of(artifact, column.sheet) for column in columns]


def _looked_at(stream: Iterator[Text], form: str) -> tuple[list[Text], str]:
    """The first records, and the form that is given or that they show; records of objects where none shows one."""
    looked: list[Text] = []
    while not form and len(looked) < LOOKED_AT:
        text = next(stream, None)
        if text is None:
            break
        looked.append(text)
        form = form_of(read_line(text.line).value) or ""
    return looked, form or FORMS[0]


def line_problems(told: Line, claim: Claim, record: Any, ledger: Ledger) -> Iterator[Problem]:
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
    yield from claim.predicates[type(record)](record, ledger)


class Column:
    """One claim over the lines of a file: its sheet, and the first line of which a part could not be judged."""

    def __init__(self, claim: Claim, file: str) -> None:
        self.claim, self.file, self.sheet = claim, file, sheet_for(claim)
        self.first, self.others = ("", ""), 0

    def judge(self, told: Line, number: int, record: Any) -> None:
        """Judge one line; what can't be judged of it is counted, and the first is remembered."""
        mine = Ledger()
        self.sheet.take(lambda: self._found(told, number, record, mine))
        self.sheet.ledger.judged(mine.checked)
        if mine.unjudged:
            self.others += bool(self.first[0])
            self.first = self.first if self.first[0] else (f"line {number}", mine.unjudged[0])

    def _found(self, told: Line, number: int, record: Any, mine: Ledger) -> Iterator[Problem]:
        for p in line_problems(told, self.claim, record, mine):
            yield msgspec.structs.replace(p, where=Where(self.file, number, p.subject))

    def close(self) -> None:
        """Say what was left out."""
        if self.first[0]:
            self.sheet.ledger.left_out(*self.first)
        if self.others:
            self.sheet.ledger.left_out(f"parts of {self.others} more line{'s' if self.others > 1 else ''}")
