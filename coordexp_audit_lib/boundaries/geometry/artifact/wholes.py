"""Files that are one JSON value: an array, whose elements are read one by one, or COCO's object."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.geometry.artifact.blocks import BLOCK, MAX_LINE, Block, Read, guarded
from coordexp_audit_lib.core.errors import UsageError

MAX_WHOLE = 1 << 30  # COCO's object is read at once
DEEPEST = 1000
COCO = {"images", "annotations"}
_IS_COCO = re.compile(rb'"(?:images|annotations|categories)"\s*:\s*\[\s*\{')
_MARK = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|"|[\[\]{},]', re.DOTALL)


class Cut:
    """Cuts an array into its elements as it is read. start: where the element begins in what is kept; -1: not begun."""

    def __init__(self, offset: int) -> None:
        self.kept, self.offset, self.at, self.depth, self.start = b"", offset, 0, 0, -1
        self.number, self.ended, self.expected = 1, False, False

    def feed(self, more: bytes) -> Iterator[Block]:
        """The elements that end in what is read now."""
        self.kept += more
        while not self.ended:
            mark = _MARK.search(self.kept, self.at)
            if mark is None or mark[0] == b'"':  # a text that goes on
                self.at = mark.start() if mark else len(self.kept)
                break
            self.at = mark.end()
            yield from self._marked(mark[0], mark.start())
        drop = self.start if self.start >= 0 else self.at
        self.kept, self.offset, self.at = self.kept[drop:], self.offset + drop, self.at - drop
        self.start = 0 if self.start >= 0 else -1

    def _marked(self, mark: bytes, start: int) -> Iterator[Block]:
        if mark in (b"[", b"{"):
            self.depth += 1
            if self.depth == 1:
                self.start = self.at
        elif mark in (b"]", b"}"):
            self.depth -= 1
            if self.depth == 0:
                self.ended = True
                yield from self._element(start)
        elif mark == b"," and self.depth == 1:
            yield from self._element(start)
            self.start, self.expected = self.at, True

    def _element(self, end: int) -> Iterator[Block]:
        text = self.kept[self.start : end].strip()
        lead = len(self.kept[self.start : end]) - len(self.kept[self.start : end].lstrip())
        if text or self.expected or not self.ended:
            broken = "" if text else "an element is missing between two commas"
            yield Block(self.number, self.offset + self.start + lead, text, broken)
            self.number += 1


def elements_of(read: Read, rest: bytes, offset: int) -> Iterator[Block]:
    """The elements of an array, in bounded memory; the last block says how it breaks off, if it does."""
    cut, reading = Cut(offset), guarded(read, BLOCK)
    more, broken = rest, ""
    while True:
        yield from cut.feed(more)
        if cut.ended:
            break
        if len(cut.kept) > MAX_LINE:
            why = f"an element of the array is longer than {MAX_LINE >> 20} MiB, and what follows it was not read"
            yield Block(cut.number, cut.offset, b"", why)
            return
        more, broken = next(reading)
        if broken or not more:
            yield Block(cut.number, cut.offset, b"", broken or "the array ends in the middle of an element")
            return
    after = cut.kept[cut.at :]
    while not after.strip():
        after, broken = next(reading)
        if broken or not after:
            return
    yield Block(cut.number, cut.offset + cut.at, b"", "something follows the array that the file is")


def looks_coco(head: bytes) -> bool:
    """Whether an object begins as COCO's does."""
    return head.lstrip()[:1] == b"{" and bool(_IS_COCO.search(head))


class Annotation(msgspec.Struct):
    """What is read of an annotation."""

    image_id: Any = None
    category_id: Any = None
    bbox: Any = None
    id: Any = None


class Whole(msgspec.Struct):
    """COCO's object, as far as it is read."""

    images: list[Any]
    annotations: list[Annotation]
    categories: list[Any] = []


class Loose(msgspec.Struct):
    """The same, whatever its annotations are."""

    images: list[Any]
    annotations: list[Any]
    categories: list[Any] = []


def images_of(name: str, read: Read, rest: bytes) -> Iterator[Block]:
    """One record for each image of a COCO file, with the annotations that name it, and with the categories' names.

    Raises:
        UsageError: it is longer than `MAX_WHOLE`.
    """
    pieces, held, reading = [rest], len(rest), guarded(read, BLOCK)
    while held <= MAX_WHOLE:
        more, broken = next(reading)
        if broken or not more:
            break
        pieces.append(more)
        held += len(more)
    else:
        what = f"is one JSON value of more than {MAX_WHOLE >> 20} MiB, which is not expanded"
        raise UsageError(what, where=name, remedy="write it as JSON lines, one image a line")
    data = b"".join(pieces)
    try:
        whole = _whole(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        yield Block(1, 0, b"", broken or f"the JSON value that the file is does not parse: {error}")
        return
    del data, pieces
    yield from _gathered(whole)


def _whole(data: bytes) -> Whole:
    """A file's object; an annotation that is none is kept as what it is, and costs the others nothing."""
    try:
        return msgspec.json.decode(data, type=Whole)
    except msgspec.ValidationError:
        loose = msgspec.json.decode(data, type=Loose)
    return Whole(loose.images, [_annotation(a) for a in loose.annotations], loose.categories)


def _annotation(value: Any) -> Annotation:
    try:
        return msgspec.convert(value, Annotation)
    except msgspec.ValidationError:
        return Annotation(bbox=value)


def _key(value: Any) -> Any:
    return value if isinstance(value, (int, str, float)) or value is None else repr(value)


def _gathered(whole: Whole) -> Iterator[Block]:
    names = {_key(c.get("id")): c.get("name") for c in whole.categories if isinstance(c, dict)}
    mine: dict[Any, list[Annotation]] = {}
    for a in whole.annotations:
        mine.setdefault(_key(a.image_id), []).append(a)
    seen: set[Any] = set()
    for i, image in enumerate(whole.images, 1):
        made = image
        if isinstance(image, dict):
            key = _key(image.get("id"))
            made = {**image, "annotations": [_named(a, names) for a in mine.pop(key, ())]}
            made |= {"twice": True} if key in seen else {}
            seen.add(key)
        yield Block(i, 0, msgspec.json.encode(made))
    for i, (image_id, lost) in enumerate(mine.items(), len(whole.images) + 1):
        found = [_named(a, names) for a in lost]
        yield Block(i, 0, msgspec.json.encode({"id": image_id, "annotations": found, "no_such_image": True}))


def _named(a: Annotation, names: dict[Any, Any]) -> dict[str, Any]:
    return {"bbox": a.bbox, "category_id": a.category_id, "id": a.id, "category": names.get(_key(a.category_id))}
