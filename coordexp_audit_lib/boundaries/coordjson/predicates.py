"""What must be true of a parser's answer. Pure functions: they return what is wrong, one line each."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence

from coordexp_audit_lib.boundaries.coordjson.contract import Growth, Order, Parsed, Record, Thing
from coordexp_audit_lib.boundaries.coordjson.reference import Reading

BIN = re.compile(r"<\|coord_(0|[1-9][0-9]{0,2})\|>|(?<![\w|>-])([0-9]+)(?![\w.|])")  # bare numbers are for other claims
SUPERLINEAR = 1.5


def same_desc(one: str, other: str) -> bool:
    """Whether two descs are the same; blanks around one are no part of it (the contract trims them)."""
    return one.strip() == other.strip()


def roundtrip_problems(things: Sequence[Thing], order: Order, parsed: Parsed) -> list[str]:
    """What a parse of the rendered `things` lost or changed."""
    lost = parsed.failed or parsed.truncated or parsed.dropped or parsed.incomplete_tail
    if lost or len(parsed.records) != len(things):
        return [f"{len(parsed.records)} of {len(things)} records came back"]
    problems = []
    for i, (thing, found) in enumerate(zip(things, parsed.records, strict=True)):
        keys = ["desc", thing.geometry] if order == "desc_first" else [thing.geometry, "desc"]
        if not same_desc(found.desc, thing.desc):
            problems.append(f"record {i}: the desc changed")
        if (found.geometry, tuple(found.values)) != (thing.geometry, thing.values):
            problems.append(f"record {i}: the geometry changed")
        if found.key_order != keys or found.index != i:
            problems.append(f"record {i}: its keys or its place changed")
    return problems


def span_problems(text: str, parsed: Parsed) -> list[str]:
    """Spans that do not cut exactly a record, and in it exactly its array, in the order of the text."""
    problems = []
    behind = parsed.container_start if parsed.container_start is not None else 0
    for found in parsed.records:
        (start, end), (first, last) = found.span, found.geometry_span
        if not behind <= start < first < last < end <= len(text):
            problems.append(f"record {found.index}: its spans are not ordered within the text")
            continue
        behind = end
        if text[start] + text[end - 1] != "{}":
            problems.append(f"record {found.index}: the span does not cut an object")
        if text[first] + text[last - 1] != "[]" or f'"{found.geometry}"' not in text[start:first]:
            problems.append(f"record {found.index}: the geometry span does not cut its array")
    if parsed.container_end is not None and not behind <= parsed.container_end <= len(text):
        problems.append("the container ends before its records do")
    return problems or [p for found in parsed.records for p in _cut_problems(text, found)]


def _cut_problems(text: str, found: Record) -> list[str]:
    """The record that the spans cut, read on its own, must be the record that was reported."""
    read = cut_record(text, found)
    if read is None:
        return [f"record {found.index}: what its spans cut is not a record"]
    keys, desc, bins = read
    problems = []
    if keys != found.key_order or not isinstance(desc, str) or not same_desc(desc, found.desc):
        problems.append(f"record {found.index}: its span cuts another record's text")
    if bins != found.values:
        problems.append(f"record {found.index}: its geometry span cuts other coordinates")
    return problems


def cut_record(text: str, found: Record) -> tuple[list[str], object, list[int]] | None:
    """Keys, desc and bins of the text that a record's spans cut; None if it is no record."""
    (start, end), (first, last) = found.span, found.geometry_span
    array = text[first:last]
    bins = [int(token or number) for token, number in BIN.findall(array)]
    if BIN.sub("", array).strip("[], \t\r\n"):
        return None
    try:
        pairs = json.loads(text[start:first] + "0" + text[last:end], object_pairs_hook=list)
        return [k for k, _ in pairs], dict(pairs).get("desc"), bins
    except (ValueError, TypeError):
        return None


def repair_problems(text: str, parsed: Parsed) -> list[str]:
    """Kept records that do not stand in the input as they were reported."""
    problems = []
    before = -1
    for found in parsed.records:
        start, end = found.span
        if not 0 <= start < end <= len(text) or cut_record(text, found) is None:
            problems.append(f"record {found.index} is not in the input")
            continue
        problems += _cut_problems(text, found)
        if found.index <= before:
            problems.append(f"record {found.index} is out of order")
        before = found.index
    return problems


def account_problems(parsed: Parsed, seen: int) -> list[str]:
    """Records of which nobody knows what became."""
    counted = len(parsed.records) + sum(parsed.dropped.values()) + parsed.incomplete_tail
    if any(n < 0 for n in parsed.dropped.values()) or parsed.incomplete_tail not in (0, 1):
        return ["a count is negative, or more than one record is the tail"]
    if parsed.dropped_total is not None and parsed.dropped_total != sum(parsed.dropped.values()):
        return [f"{parsed.dropped_total} dropped in all, but {sum(parsed.dropped.values())} by reason"]
    if counted == seen:
        return []
    parts = (
        f"{len(parsed.records)} kept + {sum(parsed.dropped.values())} dropped + {parsed.incomplete_tail} in the tail"
    )
    return [f"{parts} = {counted}, but the text shows {seen}"]


def is_superlinear(growth: Growth) -> bool:
    """Whether work grew faster than any linear cost and its noise would explain."""
    return growth.lines >= SUPERLINEAR or growth.time == "superlinear"


def disagreements(parsed: Parsed, reading: Reading | None) -> list[str]:
    """Where an answer is none that the contract allows, the reference being its reading of the contract."""
    if reading is None or parsed.failed:
        if parsed.failed and reading is None:
            return []
        return [f"failed is {parsed.failed}, but {'no' if reading is None else 'a'} container is there"]
    problems = []
    if [_facts(r) for r in parsed.records] != [_facts(r) for r in reading.records]:
        kept = [r.index for r in parsed.records], [r.index for r in reading.records]
        problems.append(
            f"kept records {kept[0]}, expected {kept[1]}" if kept[0] != kept[1] else "a kept record differs"
        )
    if not reasons_fit(parsed.dropped, reading.dropped):
        names = [" or ".join(r) if len(r) < 5 else "any" for r in reading.dropped]
        problems.append(f"dropped {dict(sorted(parsed.dropped.items()))}, expected {names}")
    if (parsed.incomplete_tail, parsed.truncated) != (reading.incomplete_tail, reading.truncated):
        problems.append("the tail or the truncation differs")
    if parsed.container_start != reading.start or (reading.end is not None and parsed.container_end != reading.end):
        problems.append("another container was chosen")
    return problems


def _facts(found: Record) -> tuple[object, ...]:
    return found.index, found.desc.strip(), found.geometry, found.values, found.span, found.geometry_span


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
