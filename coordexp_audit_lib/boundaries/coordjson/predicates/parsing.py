"""What must be true of a reader's answer, given the text that it was asked."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from coordexp_audit_lib.boundaries.coordjson.surfaces import Growth, Parsed, Record, Thing
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.coordjson import REASONS, Container, Entry, Order, admissible

BIN = re.compile(r"<\|coord_(\d+)\|>|(?<![\w|>-])([0-9]+)(?![\w.|])")  # bare numbers are for other claims
_ELEMENT = r"(?:<\|coord_(?:0|[1-9][0-9]{0,2})\|>|[0-9]+)"
_B = r"[ \t\r\n]*"
ARRAY = re.compile(rf"\[{_B}(?:{_ELEMENT}(?:{_B},{_B}{_ELEMENT})*)?{_B}\]")
LAST_COMMA = re.compile(r",\s*\}$")
SUPERLINEAR = 1.5


def same_desc(one: str, other: str) -> bool:
    """Whether two descs are the same; blanks around one are no part of it (the contract trims them)."""
    return one.strip() == other.strip()


def roundtrip(things: Sequence[Thing], order: Order, parsed: Parsed) -> Iterator[Problem]:
    """What a parse of the rendered `things` lost or changed."""
    lost = parsed.failed or parsed.truncated or parsed.dropped or parsed.incomplete_tail
    if lost or len(parsed.records) != len(things):
        yield Problem(f"{len(parsed.records)} of {len(things)} records came back")
        return
    for i, (thing, found) in enumerate(zip(things, parsed.records, strict=True)):
        keys = ["desc", thing.geometry] if order == "desc_first" else [thing.geometry, "desc"]
        if not same_desc(found.desc, thing.desc):
            yield Problem(f"record {i}: the desc changed")
        if (found.geometry, tuple(found.values)) != (thing.geometry, thing.values):
            yield Problem(f"record {i}: the geometry changed")
        if found.key_order != keys or found.index != i:
            yield Problem(f"record {i}: its keys or its place changed")


def exact_spans(text: str, parsed: Parsed) -> Iterator[Problem]:
    """Spans that do not cut exactly a record, and in it exactly its array, in the order of the text."""
    problems = list(_outlines(text, parsed))
    yield from problems or (p for found in parsed.records for p in _cut(text, found))


def _outlines(text: str, parsed: Parsed) -> Iterator[Problem]:
    behind = parsed.container_start if parsed.container_start is not None else 0
    for found in parsed.records:
        (start, end), (first, last) = found.span, found.geometry_span
        if not behind <= start < first < last < end <= len(text):
            yield Problem(f"record {found.index}: its spans are not ordered within the text")
            continue
        behind = end
        if text[start] + text[end - 1] != "{}":
            yield Problem(f"record {found.index}: the span does not cut an object")
        if text[first] + text[last - 1] != "[]" or f'"{found.geometry}"' not in text[start:first]:
            yield Problem(f"record {found.index}: the geometry span does not cut its array")
    if parsed.container_end is not None and not behind <= parsed.container_end <= len(text):
        yield Problem("the container ends before its records do")


def _cut(text: str, found: Record) -> Iterator[Problem]:
    """The record that the spans cut, read on its own, must be the record that was reported."""
    read = cut_record(text, found)
    if read is None:
        yield Problem(f"record {found.index}: what its spans cut is not a record")
        return
    keys, desc, bins = read
    if keys != found.key_order or not isinstance(desc, str) or not same_desc(desc, found.desc):
        yield Problem(f"record {found.index}: its span cuts another record's text")
    if bins != found.values:
        yield Problem(f"record {found.index}: its geometry span cuts other coordinates")


def cut_record(text: str, found: Record, *, exact: bool = False) -> tuple[list[str], object, list[int]] | None:
    """Keys, desc and bins of the text that a record's spans cut; None if it is no record.

    exact: it must be one as it stands; else a comma too many and the spelling of a coordinate are passed over.
    """
    (start, end), (first, last) = found.span, found.geometry_span
    array, rest = text[first:last], text[last:end]
    if exact and ARRAY.fullmatch(array) is None:
        return None
    rest = rest if exact else LAST_COMMA.sub("}", rest)
    bins = [int(token or number) for token, number in BIN.findall(array)]
    if BIN.sub("", array).strip("[], \t\r\n"):
        return None
    try:
        pairs = json.loads(text[start:first] + "0" + rest, object_pairs_hook=list)
        return [k for k, _ in pairs], dict(pairs).get("desc"), bins
    except (ValueError, TypeError):
        return None


def unrepaired(text: str, parsed: Parsed) -> Iterator[Problem]:
    """Kept records that do not stand in the input as they were reported."""
    before = -1
    for found in parsed.records:
        start, end = found.span
        if not 0 <= start < end <= len(text) or cut_record(text, found, exact=True) is None:
            yield Problem(f"record {found.index} does not stand in the input as a valid record")
            continue
        yield from _cut(text, found)
        if found.index <= before:
            yield Problem(f"record {found.index} is out of order")
        before = found.index


def accounts(parsed: Parsed, seen: int) -> Iterator[Problem]:
    """Records of which nobody knows what became."""
    kept, dropped, tail = len(parsed.records), sum(parsed.dropped.values()), parsed.incomplete_tail
    if any(n < 0 for n in parsed.dropped.values()) or tail not in (0, 1):
        yield Problem("a count is negative, or more than one record is the tail")
    elif parsed.dropped_total is not None and parsed.dropped_total != dropped:
        yield Problem(f"{parsed.dropped_total} dropped in all, but {dropped} by reason")
    elif kept + dropped + tail != seen:
        parts = f"{kept} kept + {dropped} dropped + {tail} in the tail"
        yield Problem(f"{parts} = {kept + dropped + tail}, but the text shows {seen}")


def is_superlinear(growth: Growth) -> bool:
    """Whether work grew faster than any linear cost and its noise would explain."""
    return growth.lines >= SUPERLINEAR or growth.time == "superlinear"


def agreement(parsed: Parsed, reading: Container | None) -> Iterator[Problem]:
    """Where an answer is none that the contract allows; `reading` is the grammar's, None if it finds no container."""
    if parsed.failed != (reading is None):
        there = "no" if reading is None else "a"
        yield Problem(f"failed is {parsed.failed}, but {there} container is there")
    if reading is None or parsed.failed:
        return
    kept = [(i, e) for i, e in enumerate(reading.entries) if e.valid]
    indices = [r.index for r in parsed.records], [i for i, _ in kept]
    if indices[0] != indices[1]:
        yield Problem(f"kept records {indices[0]}, expected {indices[1]}")
    elif any(_meaning(r) != _meaning(e) for r, (_, e) in zip(parsed.records, kept, strict=True)):
        yield Problem("a kept record differs")
    dropped = [admissible(e.defects) for e in reading.entries if not e.valid]
    if not reasons_fit(parsed.dropped, dropped):
        names = [" or ".join(r) if len(r) < len(REASONS) else "any" for r in dropped]
        yield Problem(f"dropped {dict(sorted(parsed.dropped.items()))}, expected {names}")
    if (parsed.incomplete_tail, parsed.truncated) != (reading.tail, reading.end is None):
        yield Problem("the tail or the truncation differs")
    if parsed.container_start != reading.start or (reading.end is not None and parsed.container_end != reading.end):
        yield Problem("another container was chosen")


def _meaning(found: Record | Entry) -> tuple[object, ...]:
    return found.desc.strip(), found.geometry, list(found.values), found.span, found.geometry_span


def reasons_fit(counts: dict[str, int], allowed: Sequence[tuple[str, ...]]) -> bool:
    """Whether every dropped record can be given one of the reasons it may have, so that the counts come out."""
    left = Counter({reason: n for reason, n in counts.items() if n})
    if sum(left.values()) != len(allowed):
        return False
    taken: dict[int, str] = {}

    def place(i: int, tried: set[str]) -> bool:
        for reason in allowed[i]:
            if reason in tried or not left[reason]:
                continue
            tried.add(reason)
            holders = [j for j, r in taken.items() if r == reason]
            free = len(holders) < left[reason]
            if free or any(place(j, tried) for j in holders):
                taken[i] = reason
                return True
        return False

    return all(place(i, set()) for i in range(len(allowed)))
