"""From an open file to its records, whatever it is: lines in blocks, the elements of an array, images, rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from coordexp_audit_lib.boundaries.geometry.artifact.blocks import (
    BLOCK,
    MAX_LINE,
    Block,
    blocks_of,
    guarded,
    records_of,
)
from coordexp_audit_lib.boundaries.geometry.artifact.coco import COCO, images_of, looks_coco
from coordexp_audit_lib.boundaries.geometry.artifact.files import BOM, Source
from coordexp_audit_lib.boundaries.geometry.artifact.lines import read_line
from coordexp_audit_lib.boundaries.geometry.artifact.tables import rows_of
from coordexp_audit_lib.boundaries.geometry.artifact.wholes import elements_of
from coordexp_audit_lib.boundaries.geometry.predicates.grounding import FORMS, form_of
from coordexp_audit_lib.boundaries.geometry.predicates.records import Record, Space
from coordexp_audit_lib.core.errors import UsageError

LOOKED_AT = 32  # records of which the first of a known form tells the file's
KNOWN = {"query", "instruction", "images", "objects", "width", "height", "messages", "conversations", "annotations"}


class Stream(NamedTuple):
    """The blocks of a file. lines: whether these are lines of text, and not a record each. start: where the first line
    begins, after a byte order mark. what: what the records stand in, if not in lines."""

    blocks: Iterator[Block]
    lines: bool
    start: int = 0
    what: str = ""


def stream_of(source: Source) -> Stream:
    """What a file holds, by its first bytes."""
    if source.table:
        return Stream(rows_of(source), False, what=f"rows of {source.table.capitalize()} as ")
    first, broken = next(guarded(source.file.read, BLOCK))
    if broken:
        return Stream(iter([Block(1, 0, b"", broken)]), True)
    start = len(BOM) if first.startswith(BOM) else 0
    first = first[start:]
    begins = first.lstrip()[:1]
    if begins == b"[":
        return Stream(elements_of(source.file.read, first, start), False, start, "a JSON array of ")
    if begins == b"{":
        return _object(source, first, start)
    return Stream(blocks_of(source.file.read, first, start), True, start)


def _object(source: Source, first: bytes, start: int) -> Stream:
    """Lines, of which the first is an object; COCO's one object; or one object over several lines."""
    line, newline, rest = first.lstrip().partition(b"\n")
    value = _decoded(line)
    if isinstance(value, dict):
        images = value.get("images")
        whole = value.keys() >= COCO and isinstance(images, list) and all(isinstance(i, dict) for i in images[:1])
    else:
        whole = looks_coco(first) and not (newline and rest.lstrip()[:1] == b"{")
    if whole:
        return Stream(images_of(source.name, source.file.read, first), False, start)
    if value is None and newline and rest.lstrip()[:1] in (b'"', b"}"):
        more, _ = next(guarded(source.file.read, MAX_LINE))
        first += more
        if isinstance(_decoded(first), dict):
            return Stream(iter([Block(1, start, first)]), False)
    return Stream(blocks_of(source.file.read, first, start), True, start)


def _decoded(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class Looked(NamedTuple):
    """What the first records show. blocks: all that was read of them."""

    blocks: list[Block]
    form: str
    space: Space


def look(name: str, stream: Stream, form: str, frame: str) -> Looked:
    """The form that is given or that the first records show, and the space of their coordinates.

    Raises:
        UsageError: records are there, and none is of a form that is known.
    """
    blocks: list[Block] = []
    values: list[Any] = []
    while len(values) < LOOKED_AT:
        block = next(stream.blocks, None)
        if block is None:
            break
        blocks.append(block)
        for _, text in zip(range(LOOKED_AT - len(values)), records_of(block, stream.lines), strict=False):
            values.append(read_line(text.text).value if not text.broken else None)
    if not stream.lines and len(values) == LOOKED_AT and not any(isinstance(v, dict) for v in values):
        what = f"holds no records: none of its first {LOOKED_AT} elements is an object"
        raise UsageError(what, where=name, remedy="give an array of records")
    found = form or next((f for f in map(form_of, values) if f), "")
    objects = [v for v in values if isinstance(v, dict)]
    if not found and objects and not any(KNOWN & v.keys() for v in objects):
        keys = ", ".join(sorted(map(str, objects[0]))[:8]) or "none"
        what = f"holds records of a form that is not known, with the keys: {keys}"
        raise UsageError(what, where=name, remedy=f"name the form: --form {', '.join(FORMS)}")
    found = found or FORMS[0]
    if found == "objects" and frame in ("norm1", "resized"):
        what = f"holds records of objects, whose coordinates are bins or pixels, and not {frame}"
        raise UsageError(what, where=name, remedy="say --frame norm1000 or --frame real")
    return Looked(blocks, found, _space(name, objects, frame))


def _space(name: str, values: list[dict[str, Any]], frame: str) -> Space:
    """Whether coordinates are pixels: as the user says, else as most records show by numbers that are no bins."""
    if frame:
        return "bins" if frame == "norm1000" else "pixels"
    if ".norm.json" in name or ".coord.json" in name:
        return "bins"
    pixels = numbers = 0
    for value in values:
        found = [v for g in Record(value).geometries[0] for v in g.values if isinstance(v, (int, float, str))]
        if str in map(type, found):
            return "bins"
        numbers += bool(found)
        pixels += any(isinstance(v, float) or v > 999 for v in found if not isinstance(v, str))
    return "pixels" if pixels * 2 > numbers else "bins"
