"""The claims over the lines of a file or of a part of it, in one pass; what parts hold is put together in order."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from coordexp_audit_lib.boundaries.geometry.artifact.blocks import Block, Pack, ends_of, halves, records_of
from coordexp_audit_lib.boundaries.geometry.artifact.how import How
from coordexp_audit_lib.boundaries.geometry.artifact.images import Images
from coordexp_audit_lib.boundaries.geometry.artifact.layout import Counts, Layout, counted
from coordexp_audit_lib.boundaries.geometry.artifact.lines import Line, quick_line, read_line
from coordexp_audit_lib.boundaries.geometry.artifact.talks import SwiftLayout, TalkLayout
from coordexp_audit_lib.boundaries.geometry.predicates import frames, grounding, records
from coordexp_audit_lib.boundaries.geometry.predicates.frames import NO_SIZE, Fitting
from coordexp_audit_lib.boundaries.geometry.predicates.grounding import Talk
from coordexp_audit_lib.boundaries.geometry.predicates.pictured import Pictured
from coordexp_audit_lib.boundaries.geometry.predicates.records import GEOMETRY_KEYS, Record, Space
from coordexp_audit_lib.core.claim import Claim, Ledger, Predicate, claims_on
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.judge import sheet_for
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.sheet import Part

TALKS: dict[str, Predicate] = {
    "geometry.record_contract": grounding.contract,
    "geometry.bins_in_range": frames.in_frame,
    "geometry.box_ordered": frames.ordered,
}
LAYOUTS = {"conversations": TalkLayout, "ms-swift": SwiftLayout}
UNFRAMED = f"coordinates: {NO_SIZE}"
FEW = 4  # records that are judged one by one where one of them is not sound
CONTRACT, UNSORTED, RANGE = "geometry.record_contract", "geometry.never_reordered", "geometry.bins_in_range"


class File(NamedTuple):
    """What is judged: the name in findings, what the file was taken for, and the folder of its images, if they are
    looked at. within: what the records stand in, if not in lines. marked: whether a byte order mark comes first."""

    name: str
    form: str
    space: Space
    images: str
    within: str = ""
    marked: bool = False


def line_problems(told: Line, claim: Claim, record: Any, ledger: Ledger, offset: int = -1) -> Iterator[Problem]:
    """What is wrong with a line by one claim; that it is JSON, and says each thing once, is the contract's."""
    if claim.id == CONTRACT:
        yield from (Problem("a key stands twice in one object", key, 1, 2) for key in told.twice)
        if told.error:
            ledger.judged()
            place = f" (byte {offset + told.at} of the file)" if offset >= 0 else ""
            what = told.error if told.unread else f"the line is no JSON: {told.error}"
            yield Problem(f"{what}{place}", "", "one JSON object")
            return
    elif told.error:
        ledger.left_out("it could not be read" if told.unread else "it is no JSON")
        return
    elif {"objects", *GEOMETRY_KEYS}.intersection(told.twice):
        ledger.left_out("a key stands twice in one object, and only the last was read")
    yield from claim.predicates[type(record)](record, ledger)


class Column:
    """One claim over the lines of a file: its sheet, and the first line of which a part could not be judged."""

    def __init__(self, claim: Claim, kind: type, file: str) -> None:
        self.claim, self.kind, self.file, self.sheet = claim, kind, file, sheet_for(claim)
        self.first: tuple[int, str] | None = None
        self.others = 0
        self.only_unframed = False  # of the last line: its boxes were not compared, for want of the image's size

    def judge(self, told: Line, block: Block, subject: Any) -> bool:
        """Judge one line; what can't be judged of it is counted, and the first is remembered. Whether it is sound."""
        mine, before = Ledger(), self.sheet.count
        self.sheet.take(lambda: self._found(told, block, subject, mine))
        self.sheet.ledger.judged(mine.checked)
        if mine.unjudged:
            self._left_out(block.number, mine.unjudged[0])
        found = self.sheet.count != before or self.sheet.stopped
        self.only_unframed = not found and not mine.checked and mine.unjudged == [UNFRAMED]
        return not found and not mine.unjudged

    def _left_out(self, number: int, why: str, lines: int = 1) -> None:
        self.others += lines - (self.first is None)
        self.first = self.first or (number, why)

    def _found(self, told: Line, block: Block, subject: Any, mine: Ledger) -> Iterator[Problem]:
        for p in line_problems(told, self.claim, subject, mine, block.offset):
            yield msgspec.structs.replace(p, where=Where(self.file, block.number, p.subject))

    def take_in(self, part: ColumnPart, lines: int) -> None:
        """Add what was found in the lines after the first `lines`."""

        def moved(violation: Violation) -> Violation:
            where = violation.where
            if where is None:
                return violation
            return msgspec.structs.replace(violation, where=Where(where.path, where.line + lines, where.symbol))

        self.sheet.take_in(part.sheet, moved)
        if part.first:
            self._left_out(part.first[0] + lines, part.first[1], part.others + 1)

    def close(self) -> None:
        """Say what was left out."""
        if self.first:
            self.sheet.ledger.left_out(f"line {self.first[0]}", self.first[1])
        if self.others:
            self.sheet.ledger.left_out(f"parts of {self.others} more line{'s' if self.others > 1 else ''}")


class ColumnPart(NamedTuple):
    """What a column holds of a part of a file."""

    sheet: Part
    first: tuple[int, str] | None
    others: int


class FilePart(NamedTuple):
    """What was found in a part of a file. lines: how many it has."""

    lines: int
    columns: list[ColumnPart]
    fitting: Fitting


class Judge:
    """Judges blocks one after the other. fitting: which frames all boxes fit, where none is said."""

    def __init__(self, file: File, how: How) -> None:
        self.file, self.how = file, how
        kind: type = Record if file.form == "objects" else Talk
        chosen = [c for c in claims_on(kind, "geometry") if how.ordering == "sorted" or c.id != UNSORTED]
        self.columns = [Column(c, kind, file.name) for c in chosen]
        self.images = Images(Path(file.images)) if file.images else None
        if self.images:
            self.columns += [Column(c, Pictured, file.name) for c in claims_on(Pictured, "geometry")]
        self.fitting = Fitting()
        self.layout = self._layout()
        self.unsaid = file.form == "conversations" and not how.frame
        self.lines = 0

    def _layout(self) -> Layout | None:
        """What can tell sound lines many at a time, of the claims that are judged here."""
        if not _known(self.columns):
            return None
        if self.file.form == "objects":
            return Layout(self.how, self.file.space)
        if self.images or self.file.form not in LAYOUTS:
            return None
        return LAYOUTS[self.file.form](self.how, self.fitting)

    def take(self, block: Block, lines: bool) -> None:
        """Judge a block: many lines at a time where they are sound beyond doubt, each by itself else."""
        if block.pack is not None:
            self._unpack(block.number, block.pack)
            return
        ends = (ends_of(block.text) if block.ends is None else block.ends) if lines and not block.broken else [0]
        self.lines = max(self.lines, block.number - 1 + len(ends))
        waiting = [block]
        while waiting:
            block = waiting.pop()
            if self.layout and not block.broken and self._certified(block, lines):
                continue
            parts = halves(block) if self.layout and lines and not block.broken else None
            if parts:
                waiting += parts[::-1]
                continue
            for line in records_of(block, lines):
                self.each(line)

    def _unpack(self, number: int, pack: Pack) -> None:
        """Judge many records that stand in no lines."""
        self.lines = max(self.lines, number - 1 + pack.number)
        if pack.counts is not None and _known(self.columns) and not self.images:
            self._count(pack.counts, number)
            return
        if self.layout and pack.text and self._certified(Block(number, 0, pack.text), array=True):
            return
        waiting = [pack.made()]
        while waiting:
            some = waiting.pop()
            if self.layout and pack.text and len(some) > FEW:
                text = b"[" + b",".join([one.text for one in some]) + b"]"
                if len(some) < pack.number and self._certified(Block(some[0].number, 0, text), array=True):
                    continue
                middle = len(some) // 2
                waiting += [some[middle:], some[:middle]]
                continue
            for one in some:
                self.take(one, lines=False)

    def _certified(self, block: Block, lines: bool = False, *, array: bool = False) -> bool:
        """Whether all records of a block are sound beyond doubt, and then counted. array: whether it is one of them."""
        layout = self.layout
        assert layout is not None
        gc.disable()  # a block's objects hold no cycles, and are gone with the block
        try:
            ends = (ends_of(block.text) if block.ends is None else block.ends) if lines else None
            made = layout.decode_array(block.text) if array else layout.decode(block.text, ends)
            counts: Counts | None = layout.sound(block.text, made) if made else None
        finally:
            gc.enable()
        if counts is None or made is None or not self._count(counts, block.number):
            return False
        if self.images:
            for number, r in enumerate(made, block.number):
                value = {"images": r.images, "width": r.width, "height": r.height}
                self._pictured(Line(value), Block(number, block.offset, b""), value)
        return True

    def _count(self, counts: Counts, number: int) -> bool:
        """Take in what was judged of records from `number` on; False where that can't be told of many at a time."""
        if counts.unframed and not any(c.first for c in self.columns if c.claim.id == RANGE):
            return False  # the first of which the frame is not known is to be named
        judged = counted(counts)
        for column in self.columns:
            if column.claim.id == RANGE and self.unsaid:
                self.fitting.coordinates += counts.coordinates
            elif column.kind is not Pictured:
                column.sheet.ledger.judged(judged[column.claim.id])
                column.others += counts.unframed if column.claim.id == RANGE else 0
        return True

    def each(self, block: Block) -> None:
        """Judge one line by the claims' own predicates."""
        broken = Line(error=block.broken, unread=True) if block.broken else None
        told = broken or quick_line(block.text) or read_line(block.text)
        pictured = self._pictured(told, block, told.value)
        if self.file.form == "objects":
            most, multiple = self.how.max_pixels, self.how.multiple_of
            subject: Any = Record(told.value, self.file.space, self.how.ordering, True, most, multiple)
        else:
            sizes = tuple(m.size for m in pictured.images if m.size) if pictured else ()
            whole = pictured is not None and len(sizes) == len(pictured.images)
            subject = Talk(told.value, self.file.form, self.how.frame, sizes if whole else (), self.how.resize)
        sound = True
        for column in self.columns:
            if column.claim.id == RANGE and self.unsaid and not told.error:
                if isinstance(told.value, dict):
                    self.fitting.see(subject, block.number)
            elif column.kind is not Pictured:
                fine = column.judge(told, block, subject)
                sound = (fine or (column.claim.id == RANGE and column.only_unframed)) and sound
        if sound and self.layout and not told.error:
            self.layout.learn(subject)

    def _pictured(self, told: Line, block: Block, value: Any) -> Pictured | None:
        """Judge the images of a record, if they are looked at, and say what they are."""
        found = self.images.of(value, self.file.form) if self.images and not told.error else None
        if found is not None:
            for column in self.columns:
                if column.kind is Pictured:
                    column.judge(told, block, found)
        return found

    def part(self) -> FilePart:
        """What was found so far, as it can be sent to another process."""
        return FilePart(self.lines, [ColumnPart(c.sheet.part(), c.first, c.others) for c in self.columns], self.fitting)

    def take_in(self, part: FilePart) -> None:
        """Add what was found in the lines that follow."""
        for column, mine in zip(self.columns, part.columns, strict=True):
            column.take_in(mine, self.lines)
        self.fitting.take_in(part.fitting, self.lines)
        self.lines += part.lines

    def close(self) -> list[Column]:
        """The columns, with what was left out, and whether one frame fits."""
        for column in self.columns:
            column.close()
            if column.claim.id == RANGE and self.unsaid:
                ledger, verdict = column.sheet.ledger, self.fitting.verdict
                column.sheet.take(lambda verdict=verdict, ledger=ledger: verdict(ledger))  # type: ignore[misc]
        return self.columns


def _known(columns: list[Column]) -> bool:
    """Whether the layout speaks for each of the claims: they are judged by the predicates that it was compared with."""
    mine = [c for c in columns if c.kind is not Pictured]
    known = records.PREDICATES if any(c.kind is Record for c in mine) else TALKS
    return all(c.claim.predicates[c.kind] is known.get(c.claim.id) for c in mine)
