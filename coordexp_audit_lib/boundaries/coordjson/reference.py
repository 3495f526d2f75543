"""The reference answers: a CoordJSON writer and reader in linear time, with exact spans."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from coordexp_audit_lib.boundaries.coordjson import contract as c
from coordexp_audit_lib.boundaries.coordjson.dataflow import Scan, ScanRequest, scan
from coordexp_audit_lib.boundaries.coordjson.grammar import (
    FORM,
    HEAD,
    REASONS,
    SCALAR,
    Broken,
    Defect,
    Source,
    admissible,
    read_record,
)
from coordexp_audit_lib.boundaries.coordjson.growth import growth
from coordexp_audit_lib.core.surface import Refuse, answers
from coordexp_audit_lib.source.tree import Tree


class Reading(msgspec.Struct):
    """A container as it was read. `dropped`: for each dropped record the reasons under which it may be counted."""

    start: int
    records: list[c.Record] = msgspec.field(default_factory=list)
    dropped: list[tuple[str, ...]] = msgspec.field(default_factory=list)
    incomplete_tail: int = 0
    end: int | None = None
    truncated: bool = False


def read(request: c.ParseRequest) -> Reading | None:
    """Read a text; None if salvage found no container.

    Raises:
        Refuse: strict mode, and the text breaks the contract.
    """
    source = Source(request.text)
    if request.mode == "strict":
        return _read_strictly(source, request.order)
    at = 0
    while (head := HEAD.search(source.text, at)) is not None:
        try:
            return _read_container(source, (head.start(), head.end()), request.order, strict=False)
        except Broken:
            at = head.start() + 1
    return None


def _read_strictly(source: Source, order: c.Order) -> Reading:
    start = source.skip(0)
    head = HEAD.match(source.text, start)
    if head is None:
        raise Refuse('the text does not start with {"objects": [; ' + FORM)
    try:
        reading = _read_container(source, (start, head.end()), order, strict=True)
    except Broken as error:
        raise Refuse(str(error)) from error
    if reading.end is None or source.skip(reading.end) != len(source.text):
        raise Refuse(f"the container is not the whole text; {FORM}")
    return reading


def _read_container(source: Source, head: tuple[int, int], order: c.Order, *, strict: bool) -> Reading:
    """Read the array from behind its `[`; what can't be an array any more is `Broken`."""
    reading, index = Reading(start=head[0]), 0
    at = source.skip(head[1])
    if source.char(at) != "]":
        while True:
            at = _read_entry(source, at, order, reading, index, strict=strict)
            index += 1
            at = source.skip(at)
            if source.char(at) != ",":
                break
            at = source.skip(at + 1)
            if source.char(at) == "]" and not strict:  # a comma too many costs no record in salvage
                break
            if source.char(at) == "":
                break
    return _closed(source, at, reading, strict=strict)


def _read_entry(source: Source, at: int, order: c.Order, reading: Reading, index: int, *, strict: bool) -> int:
    """Read one entry of the array into `reading`; returns the position behind it."""
    if source.char(at) == "":
        return at
    if source.char(at) != "{":
        return _read_stray(source, at, reading, index, strict=strict)
    end = source.object_end(at)
    if end is None:
        if strict:
            raise Broken(f"objects[{index}] is not closed", at)
        reading.incomplete_tail = 1
        return len(source.text)
    record, defects = read_record(source, (at, end), order, index)
    if record is not None:
        reading.records.append(record)
    elif strict:
        raise Broken(f"objects[{index}]: {'; '.join(d.message for d in defects)}", at)
    else:
        reading.dropped.append(admissible(defects))
    return end


def _read_stray(source: Source, at: int, reading: Reading, index: int, *, strict: bool) -> int:
    """An entry that is no object is an invalid record: salvage drops it and goes on."""
    if strict or not (source.char(at) == "[" or SCALAR.match(source.text, at)):
        raise Broken(f"objects[{index}] is not a record", at)
    reading.dropped.append(admissible([Defect(REASONS, "not an object")]))
    return source.value_end(at, len(source.text), "]")


def _closed(source: Source, at: int, reading: Reading, *, strict: bool) -> Reading:
    """Read `]}`; where the text ends before it, salvage calls it truncated."""
    for closer in "]}":
        at = source.skip(at)
        found = source.char(at)
        if found == "" and not strict:
            reading.truncated = True
            return reading
        if found != closer:
            raise Broken(f"{closer} is missing", at)
        at += 1
    reading.end = at
    return reading


@answers(c.PARSE)
def parse_coordjson(request: c.ParseRequest) -> c.Parsed:
    reading = read(request)
    if reading is None:
        return c.Parsed([], {}, 0, None, None, truncated=False, failed=True, dropped_total=0)
    counts: dict[str, int] = {}
    for reasons in reading.dropped:
        reason = reasons[0] if len(reasons) < len(REASONS) else "other"
        counts[reason] = counts.get(reason, 0) + 1
    return c.Parsed(
        reading.records,
        counts,
        reading.incomplete_tail,
        reading.start,
        reading.end,
        reading.truncated,
        failed=False,
        dropped_total=len(reading.dropped),
    )


@answers(c.RENDER)
def render(request: c.RenderRequest) -> c.Text:
    return c.Text('{"objects": [' + ", ".join(_record_text(t, request.order) for t in request.things) + "]}")


def _record_text(thing: c.Thing, order: c.Order) -> str:
    tokens = ", ".join(f"<|coord_{k}|>" for k in thing.values)
    pair = [f'"desc": {json.dumps(thing.desc, ensure_ascii=False)}', f'"{thing.geometry}": [{tokens}]']
    return "{" + ", ".join(pair if order == "desc_first" else pair[::-1]) + "}"


@answers(c.TRANSPILE)
def coordjson_to_strict_json(request: c.ParseRequest) -> c.Transpiled:
    parsed = parse_coordjson(request)
    objects = [{k: r.desc if k == "desc" else r.values for k in r.key_order} for r in parsed.records]
    return c.Transpiled(json.dumps({"objects": objects}, ensure_ascii=False), parsed.failed)


@answers(c.GROWTH)
def salvage_growth(request: c.GrowthRequest) -> c.Growth:
    return growth(lambda text: read(c.ParseRequest(text, "salvage", request.order)), request.texts)


@answers(c.PREDICTION_GROWTH)
def prediction_growth(request: c.GrowthRequest) -> c.Growth:
    def load(text: str) -> object:
        answer = coordjson_to_strict_json(c.ParseRequest(text, "salvage", request.order))
        return json.loads(answer.text)

    return growth(load, request.texts)


@answers(c.ROLLOUT_GROWTH)
def rollout_growth(request: c.GrowthRequest) -> c.Growth:
    return growth(lambda text: parse_coordjson(c.ParseRequest(text, "salvage", request.order)), request.texts)


@answers(c.JSON_SINKS)
def json_sinks(request: ScanRequest) -> Scan:
    """The same scan over this boundary's own modules."""
    return scan(Tree(Path(__file__).resolve().parent), ScanRequest(roots=("",), leave_out=()))
