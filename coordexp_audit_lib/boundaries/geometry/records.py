"""What a dataset record must be, as predicates over plain dicts. Used by the reference, the guard and the data audit.

`problems` walks a record and names every fault with its path. `line_problems` is for JSONL lines: a typed decode first
(`msgspec`, coordinates as a `Literal` of the 1000 tokens), and a walk only over what failed it or what a typed decode
cannot see. Source of the claims: `docs/data/JSONL_CONTRACT.md`, capabilities `coord-utils` and `coord-token-mode`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec

from coordexp_audit_lib.boundaries.geometry.bins import BIN_COUNT, BIN_OF_TOKEN, TOKENS, Problem, bin_of

GEOMETRY_KEYS = ("bbox_2d", "poly")
LEGACY_KEYS = ("bbox", "polygon")
BOX_VALUES, LEAST_POLY_VALUES = 4, 6
CONTRACT, IN_RANGE, ORDERED, UNSORTED = (
    "geometry.record_contract",
    "geometry.bins_in_range",
    "geometry.box_ordered",
    "geometry.never_reordered",
)

Space = Literal["bins", "pixels"]
Ordering = Literal["sorted", "random"]


def problems(record: Any, space: Space = "bins", ordering: Ordering = "random") -> Iterator[Problem]:
    """Every way in which a record breaks the contract, in reading order.

    Args:
        space: what its coordinates are: bins (tokens or ints in 0..999), or pixels within width and height.
        ordering: `sorted` also demands that objects stand in top-left order.
    """
    if not isinstance(record, Mapping):
        yield Problem(CONTRACT, "", "a record is a JSON object", "object", _kind(record))
        return
    yield from _images(record)
    for name in ("width", "height"):
        value = record.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            yield Problem(CONTRACT, name, f"{name} is a positive integer", "positive int", _shown(record, name))
    objects = record.get("objects")
    if not isinstance(objects, list):
        yield Problem(CONTRACT, "objects", "objects is a list", "list", _shown(record, "objects"))
        return
    before = None
    for i, item in enumerate(objects):
        sound = True
        for problem in _object(item, f"objects[{i}]", record, space):
            sound = False
            yield problem
        anchor = top_left(item) if sound else None
        if ordering == "sorted" and anchor is not None and before is not None and anchor < before:
            message = "objects stand in top-left order: by y, then x, of their top-left corner"
            yield Problem(UNSORTED, f"objects[{i}]", message, f"(y, x) >= {before}", str(anchor))
        before = anchor or before


def _images(record: Mapping[str, Any]) -> Iterator[Problem]:
    images = record.get("images")
    if not isinstance(images, list):
        yield Problem(CONTRACT, "images", "images is a list of paths", "list", _shown(record, "images"))
        return
    for i, image in enumerate(images):
        if not isinstance(image, str):
            yield Problem(CONTRACT, f"images[{i}]", "an image is a path", "string", _kind(image))


def _object(item: Any, path: str, record: Mapping[str, Any], space: Space) -> Iterator[Problem]:
    if not isinstance(item, Mapping):
        yield Problem(CONTRACT, path, "an object is a JSON object", "object", _kind(item))
        return
    if not isinstance(item.get("desc"), str):
        yield Problem(CONTRACT, f"{path}.desc", "desc is a string", "string", _shown(item, "desc"))
    legacy = [k for k in LEGACY_KEYS if k in item]
    for key in legacy:
        yield Problem(CONTRACT, f"{path}.{key}", "a legacy geometry key; rename it", "bbox_2d or poly", key)
    present = [k for k in GEOMETRY_KEYS if k in item]
    if len(present) != 1:
        if not (legacy and not present):
            message = "an object has exactly one geometry, bbox_2d or poly"
            yield Problem(CONTRACT, path, message, 1, len(present))
        return
    yield from _geometry(present[0], item[present[0]], f"{path}.{present[0]}", record, space)


def _geometry(key: str, values: Any, path: str, record: Mapping[str, Any], space: Space) -> Iterator[Problem]:
    if not isinstance(values, list):
        yield Problem(CONTRACT, path, "a geometry is a flat list", "list", _kind(values))
        return
    count = len(values)
    if key == "bbox_2d" and count != BOX_VALUES:
        yield Problem(CONTRACT, path, "a box has 4 coordinates", BOX_VALUES, count)
    if key == "poly" and (count < LEAST_POLY_VALUES or count % 2):
        yield Problem(CONTRACT, path, "a polygon has an even number of coordinates, at least 6", "even, >= 6", count)
    numbers = []
    for i, value in enumerate(values):
        number = bin_of(value) if space == "bins" else _pixel(value, record, i)
        if number is None:
            demanded = "a token or int in 0..999" if space == "bins" else "a number within the image"
            yield Problem(IN_RANGE, f"{path}[{i}]", f"a coordinate is {demanded}", demanded, value)
        else:
            numbers.append(number)
    if key == "bbox_2d" and len(numbers) == count == BOX_VALUES:
        x1, y1, x2, y2 = numbers
        if x2 < x1 or y2 < y1:
            yield Problem(ORDERED, path, "a box has x1 <= x2 and y1 <= y2", "x1 <= x2, y1 <= y2", list(values))


def _pixel(value: Any, record: Mapping[str, Any], i: int) -> float | None:
    size = record.get("width" if i % 2 == 0 else "height")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isinstance(size, int):
        return None
    return float(value) if 0 <= value <= size else None


def top_left(item: Mapping[str, Any]) -> tuple[float, float] | None:
    """(y, x) of an object's top-left corner: a box's own, a polygon's tight box's. None if it has no such numbers."""
    values = item.get("bbox_2d", item.get("poly"))
    if not isinstance(values, Sequence) or isinstance(values, str):
        return None
    numbers = [BIN_OF_TOKEN.get(v, None) if isinstance(v, str) else v for v in values]
    if not numbers or any(n is None for n in numbers):
        return None
    known = [float(n) for n in numbers if n is not None]
    return min(known[1::2]), min(known[0::2])


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def _shown(record: Mapping[str, Any], key: str) -> Any:
    value = record.get(key)
    if key not in record:
        return "missing"
    return value if isinstance(value, (int, float, bool)) else _kind(value)


# -- lines of a JSONL file ------------------------------------------------------------------------------------

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


def line_problems(line: bytes, ordering: Ordering = "random") -> list[Problem]:
    """Every problem of one JSONL line whose coordinates are bins; an empty list if it is sound.

    A sound line costs one typed decode and a few byte counts. Keys that stand twice are found by counting: where a key
    is not written as often as expected, the line is read again with care. So is a line with an escaped ASCII
    character, which could spell a key.
    """
    try:
        record = _DECODER.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _careful(line, ordering)
    if _ESCAPED_ASCII.search(line) or not _counts_fit(line, len(record.objects)) or not _sound(record, ordering):
        return _careful(line, ordering)
    return []


def _counts_fit(line: bytes, objects: int) -> bool:
    geometries = line.count(b'"bbox_2d"') + line.count(b'"poly"')
    return geometries == objects == line.count(b'"desc"') and all(line.count(k) == 1 for k in _TOP_KEYS)


def _sound(record: _Record, ordering: Ordering) -> bool:
    """Whether what types cannot say holds: one geometry, no legacy key, even counts, corners and objects in order."""
    unset, known = msgspec.UNSET, _BIN_OF
    before = (-1, -1)
    for item in record.objects:
        box, poly = item.bbox_2d, item.poly
        if (box is unset) == (poly is unset) or item.bbox is not unset or item.polygon is not unset:
            return False
        if box is not unset:
            x1, y1, x2, y2 = (known[v] for v in box)  # type: ignore[union-attr]
            if x2 < x1 or y2 < y1:
                return False
            anchor = (y1, x1)
        else:
            bins = [known[v] for v in poly]  # type: ignore[union-attr]
            if len(bins) % 2:
                return False
            anchor = (min(bins[1::2]), min(bins[0::2]))
        if ordering == "sorted" and anchor < before:
            return False
        before = anchor
    return True


def _careful(line: bytes, ordering: Ordering) -> list[Problem]:
    twice: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(items)
        if len(made) != len(items):
            names = [k for k, _ in items]
            twice.extend(sorted({k for k in names if names.count(k) > 1}))
        return made

    try:
        record = json.loads(line, object_pairs_hook=pairs, parse_constant=lambda word: word)
    except (ValueError, RecursionError) as error:
        return [Problem(CONTRACT, "", f"the line is no JSON: {error}", "one JSON object", None)]
    found = [Problem(CONTRACT, key, "a key stands twice in one object", 1, 2) for key in twice]
    return [*found, *problems(record, "bins", ordering)]
