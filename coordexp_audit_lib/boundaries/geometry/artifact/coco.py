"""COCO's object: one record for each image, with its annotations; those that are sound beyond doubt many at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any

import msgspec

from coordexp_audit_lib.boundaries.geometry.artifact.blocks import BLOCK, Block, Pack, Read, guarded
from coordexp_audit_lib.boundaries.geometry.artifact.layout import Counts
from coordexp_audit_lib.boundaries.geometry.predicates.records import LONGEST_SIDE
from coordexp_audit_lib.core.errors import UsageError

MAX_WHOLE = 1 << 30  # the object is read at once
COCO = {"images", "annotations"}
FIRST, AT_ONCE = 32, 256  # images that come by themselves, for the form to be seen, and those that are judged together
_IS_COCO = re.compile(rb'"(?:images|annotations|categories)"\s*:\s*\[\s*\{')
Number = int | float


class Sound(msgspec.Struct, gc=False):
    """The same of an annotation that is as it should be."""

    image_id: int
    category_id: int
    bbox: tuple[Number, Number, Number, Number]
    id: Any = None


class SoundImage(msgspec.Struct, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    """What is judged of an image."""

    id: int
    width: Annotated[int, msgspec.Meta(gt=0, le=LONGEST_SIDE)]
    height: Annotated[int, msgspec.Meta(gt=0, le=LONGEST_SIDE)]
    file_name: str
    license: Any = None
    coco_url: Any = None
    flickr_url: Any = None
    date_captured: Any = None


class SoundWhole(msgspec.Struct, gc=False):
    """COCO's object, where all of it is of the right types."""

    images: list[SoundImage]
    annotations: list[Sound]
    categories: list[Any] = []


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
    quickly = _quickly(data)
    if quickly is not None:
        yield from quickly
        return
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


def _named(a: Any, names: dict[Any, Any]) -> dict[str, Any]:
    return {"bbox": a.bbox, "category_id": a.category_id, "id": a.id, "category": names.get(_key(a.category_id))}


def _quickly(data: bytes) -> Iterator[Block] | None:
    """The records of a file all of which is of the right types; None where it is not."""
    try:
        whole = msgspec.json.decode(data, type=SoundWhole)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    mine: dict[int, list[Any]] = {image.id: [] for image in whole.images}
    if len(mine) != len(whole.images):
        return None
    try:
        for a in whole.annotations:
            mine[a.image_id].append(a)
    except KeyError:
        return None
    return _packed(whole, mine)


def _packed(whole: SoundWhole, mine: dict[int, list[Any]]) -> Iterator[Block]:
    names = {_key(c.get("id")): c.get("name") for c in whole.categories if isinstance(c, dict)}
    listed = {key for key, name in names.items() if name is not None}

    def made(begin: int, end: int) -> list[Block]:
        found = []
        for i, image in enumerate(whole.images[begin:end], begin + 1):
            annotations = [_named(a, names) for a in mine[image.id]]
            found.append(Block(i, 0, msgspec.json.encode({**msgspec.to_builtins(image), "annotations": annotations})))
        return found

    yield from made(0, FIRST)
    for begin in range(FIRST, len(whole.images), AT_ONCE):
        some = whole.images[begin : begin + AT_ONCE]
        pack = Pack(partial(made, begin, begin + len(some)), len(some), counts=_counted(some, mine, listed))
        yield Block(begin + 1, 0, b"", pack=pack)


def _counted(images: list[Any], mine: dict[int, list[Any]], listed: set[Any]) -> Counts | None:
    """What is judged of images whose boxes all have an area, lie in the image and can be no shares of it."""
    if [
        1
        for image in images
        for wide, high in ((image.width, image.height),)
        for a in mine[image.id]
        for x, y, w, h in (a.bbox,)
        if not (w > 0 and h > 0 and x >= 0 and y >= 0 and x + w <= wide and y + h <= high)
        or (x + w <= 1 and y + h <= 1)
        or a.category_id not in listed
    ]:
        return None
    boxes = sum(len(mine[image.id]) for image in images)
    return Counts(len(images), 4 * boxes, boxes, 0)
