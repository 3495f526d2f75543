"""What a dataset record must be: one predicate a claim, over a record as JSON gives it.

The reference, the guard and the audit of data files judge with these. What stops a predicate from judging a part of a
record (an object that is none, a geometry that is no list) is said in the ledger: it is another claim's violation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

import msgspec

from coordexp_audit_lib.core.claim import Ledger, Predicate
from coordexp_audit_lib.core.problem import Problem, Undecided
from coordexp_audit_lib.kit.boxes import BIN_OF_TOKEN, CHARTS, LAST_BIN, bin_of, corners, has_area, is_ordered, top_left

GEOMETRY_KEYS = ("bbox_2d", "poly")
LEGACY_KEYS = ("bbox", "polygon")
FOREIGN_KEYS = (*LEGACY_KEYS, "line")
FOREIGN = "a geometry key of an older or another format; rename, convert or drop it"
BOX_VALUES, LEAST_POLY_VALUES = 4, 6
LONGEST_SIDE = 2**31 - 1  # no image format holds a longer one, and a product of two still fits 64 bits
PREPARED = "prepared_bbox_format"  # the key of `metadata` that says what a box's four bins are
ROUNDED = 4.0  # bins by which rounding a centre and a size can move an edge

Space = Literal["bins", "pixels"]
Ordering = Literal["sorted", "random"]


class Geometry(msgspec.Struct, frozen=True, gc=False):
    """An object's one geometry. at: the object's index. numbers: its values in the record's space, if all are."""

    at: int
    key: str
    values: list[Any]
    numbers: list[Any] | None

    @property
    def path(self) -> str:
        return f"objects[{self.at}].{self.key}"


class Record(msgspec.Struct, frozen=True, dict=True):
    """A dataset record. value: anything that JSON can hold, for malformed ones are part of the question.

    space: what its coordinates are: bins (tokens or ints in 0..999), or pixels within width and height. ordering:
    `sorted` demands that objects stand in top-left order. relative: whether it stands in a file, where images are
    relative paths and a converter's own rules hold. max_pixels, multiple_of: what its size must keep to; 0: anything.
    """

    value: Any
    space: Space = "bins"
    ordering: Ordering = "random"
    relative: bool = False
    max_pixels: int = 0
    multiple_of: int = 0

    @property
    def chart(self) -> str:
        """What the four bins of its boxes are, of `boxes.CHARTS`; "" where it says what none of them is."""
        metadata = self.value.get("metadata") if isinstance(self.value, Mapping) else None
        said = metadata.get(PREPARED) if isinstance(metadata, Mapping) else None
        name = said.strip().lower().replace("-", "_") if isinstance(said, str) else said
        return "xyxy" if name in (None, "") else name if name in CHARTS else ""

    def number(self, value: Any, i: int) -> float | None:
        """A geometry's i-th value as a number of the record's space; None if it is none."""
        if self.space == "bins":
            return bin_of(value)
        size = self.value.get("width" if i % 2 == 0 else "height")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not isinstance(size, int):
            return None
        return float(value) if 0 <= value <= size else None

    @cached_property
    def geometries(self) -> tuple[list[Geometry], list[str]]:
        """Each object's one geometry, and the paths where there is none to read. Read once for all predicates."""
        objects = self.value.get("objects") if isinstance(self.value, (dict, Mapping)) else None
        if not isinstance(objects, list):
            return [], ["objects"]
        found: list[Geometry] = []
        without: list[str] = []
        in_bins, bin_of_token = self.space == "bins", BIN_OF_TOKEN.__getitem__
        for i, item in enumerate(objects):
            key = _only_geometry(item) if isinstance(item, (dict, Mapping)) else ""
            values = item[key] if key else None
            if not isinstance(values, list):
                without.append(f"objects[{i}]")
                continue
            try:  # most are tokens, each of them a bin
                numbers = list(map(bin_of_token, values)) if in_bins else self._numbers(values)
            except (KeyError, TypeError):
                numbers = self._numbers(values)
            found.append(Geometry(i, key, values, numbers))
        return found, without

    def _numbers(self, values: list[Any]) -> list[Any] | None:
        found = [self.number(v, i) for i, v in enumerate(values)]
        return None if None in found else found


def record_contract(record: Record, ledger: Ledger) -> Iterator[Problem]:
    """Images, width, height, objects; of each object desc and one geometry of the right arity. Judged: the record."""
    ledger.judged()
    value = record.value
    if not isinstance(value, (dict, Mapping)):
        yield Problem("a record is a JSON object", "", "object", _kind(value))
        return
    yield from _images(value, record.relative)
    yield from _size(record)
    objects = value.get("objects")
    if not isinstance(objects, list):
        yield Problem("objects is a list", "objects", "list", _shown(value, "objects"))
        return
    for i, item in enumerate(objects):
        for subject, (message, expected, actual) in _object(item).items():
            yield Problem(message, f"objects[{i}]{subject}", expected, actual)
        if record.relative and isinstance(item, dict):
            yield from _prepared(item, i)
    if record.relative:
        yield from _drawn(record)


def _size(record: Record) -> Iterator[Problem]:
    sides = []
    for name in ("width", "height"):
        side = record.value.get(name)
        if not isinstance(side, int) or isinstance(side, bool) or side <= 0:
            yield Problem(f"{name} is a positive integer", name, "positive int", _shown(record.value, name))
        elif side > LONGEST_SIDE:
            yield Problem(f"{name} is longer than any image's", name, f"at most {LONGEST_SIDE}", str(side)[:40])
        else:
            sides.append(side)
    if len(sides) == 2 and record.max_pixels and sides[0] * sides[1] > record.max_pixels:
        yield Problem("the image has more pixels than the run allows", "width", record.max_pixels, sides[0] * sides[1])
    if record.multiple_of and any(side % record.multiple_of for side in sides):
        yield Problem(f"a side is no multiple of {record.multiple_of}", "width", record.multiple_of, sides)


def _prepared(item: Mapping[str, Any], at: int) -> Iterator[Problem]:
    """What a converter's own validator refuses besides: another kind of line, a count of points that is another's."""
    if item.get("line_points") is not None:
        yield Problem(FOREIGN, f"objects[{at}].line_points", "bbox_2d or poly", "line_points")
    points, poly = item.get("poly_points"), item.get("poly")
    if "poly_points" in item and poly is None:
        yield Problem("poly_points without a poly", f"objects[{at}].poly_points", "a poly", "none", severity="P1")
    elif points is not None and isinstance(poly, list) and len(poly) % 2 == 0 and _is_other(points, len(poly) // 2):
        found = points if isinstance(points, int) else _kind(points)
        path = f"objects[{at}].poly_points"
        yield Problem("poly_points is not the poly's", path, len(poly) // 2, found, severity="P1")


def _is_other(points: Any, count: int) -> bool:
    return not isinstance(points, int) or isinstance(points, bool) or points != count


def _drawn(record: Record) -> Iterator[Problem]:
    """Boxes have an area, and a chart that is known; one other than corners has boxes only."""
    chart = record.chart
    if not chart:
        said = record.value["metadata"][PREPARED]
        yield Problem("boxes are prepared in a way that is not known", f"metadata.{PREPARED}", ", ".join(CHARTS), said)
        return
    for g in record.geometries[0]:
        if chart != "xyxy" and g.key != "bbox_2d":
            yield Problem(f"a {g.key} in a file of boxes as {chart}", g.path, "bbox_2d", g.key)
        elif chart == "xyxy" and g.key == "bbox_2d" and g.numbers is not None and len(g.numbers) == BOX_VALUES:
            flat = is_ordered(g.numbers) and not has_area(g.numbers)
            if flat:
                yield Problem("a box has no area", g.path, "x1 < x2, y1 < y2", list(g.values), severity="P1")


def _images(value: Mapping[str, Any], relative: bool) -> Iterator[Problem]:
    images = value.get("images")
    if not isinstance(images, list):
        yield Problem("images is a list of paths", "images", "list", _shown(value, "images"))
        return
    for i, image in enumerate(images):
        if not isinstance(image, str):
            yield Problem("an image is a path", f"images[{i}]", "string", _kind(image))
        elif relative and not image.strip():
            yield Problem("an image is a path", f"images[{i}]", "a path", "blank")
        elif relative and _leaves(image):
            message = "an image is a path below the file's folder: not absolute, no URL, no .."
            yield Problem(message, f"images[{i}]", "a relative path", image)


def _leaves(image: str) -> bool:
    """Whether a path is absolute on any system, a URL, or climbs out."""
    if image.startswith(("/", "\\", "~", "data:")) or "://" in image or image[1:2] == ":":
        return True
    return ".." in image and ".." in image.replace("\\", "/").split("/")


def _object(item: Any) -> dict[str, tuple[str, Any, Any]]:
    """What is wrong with an object, by path within it: message, expected, actual."""
    if not isinstance(item, (dict, Mapping)):
        return {"": ("an object is a JSON object", "object", _kind(item))}
    found = _described(item)
    for key in FOREIGN_KEYS:
        if key in item:
            found[f".{key}"] = FOREIGN, "bbox_2d or poly", key
    key = _only_geometry(item)
    if not key:
        present = sum(k in item for k in GEOMETRY_KEYS)
        if present or not any(k in item for k in FOREIGN_KEYS):
            found[""] = "an object has exactly one geometry, bbox_2d or poly", 1, present
        return found
    values = item[key]
    if not isinstance(values, list):
        found[f".{key}"] = "a geometry is a flat list", "list", _kind(values)
    elif key == "bbox_2d" and len(values) != BOX_VALUES:
        found[f".{key}"] = "a box has 4 coordinates", BOX_VALUES, len(values)
    elif key == "poly" and (len(values) < LEAST_POLY_VALUES or len(values) % 2):
        found[f".{key}"] = "a polygon has an even number of coordinates, at least 6", "even, >= 6", len(values)
    return found


def _described(item: Mapping[str, Any]) -> dict[str, tuple[str, Any, Any]]:
    """What is wrong with an object's desc, by path within the object."""
    desc = item.get("desc")
    if not isinstance(desc, str):
        return {".desc": ("desc is a string", "string", _shown(item, "desc"))}
    return {} if desc.strip() else {".desc": ("desc is not blank", "a description", "blank")}


def _only_geometry(item: Mapping[str, Any]) -> str:
    """The geometry key that an object has, if it has exactly one; else empty."""
    if "bbox_2d" in item:
        return "" if "poly" in item else "bbox_2d"
    return "poly" if "poly" in item else ""


def bins_in_range(record: Record, ledger: Ledger) -> Iterator[Problem]:
    """Coordinates are numbers of the record's space. Judged: coordinates."""
    demanded = "a token or int in 0..999" if record.space == "bins" else "a number within the image"
    geometries = _geometries(record, ledger)
    ledger.judged(sum([len(g.values) for g in geometries]))
    for g in geometries:
        for i, value in enumerate(g.values) if g.numbers is None else ():
            if record.number(value, i) is None:
                yield Problem(f"a coordinate is {demanded}", f"{g.path}[{i}]", demanded, value)
    if record.space == "bins" and record.chart not in ("", "xyxy"):
        yield from _beyond(record, geometries)


def _beyond(record: Record, geometries: list[Geometry]) -> Iterator[Problem]:
    """Boxes as centre and size whose edges lie outside the image by more than rounding: they are corners after all."""
    for g in geometries:
        if g.key != "bbox_2d" or g.numbers is None or len(g.numbers) != BOX_VALUES:
            continue
        edges = corners(g.numbers, record.chart)
        if min(edges) < -ROUNDED or max(edges) > LAST_BIN + ROUNDED:
            message = f"as {record.chart} the box reaches beyond the image"
            yield Problem(message, g.path, "edges in 0..999", [round(e, 1) for e in edges], list(g.values))


def box_ordered(record: Record, ledger: Ledger) -> Iterator[Problem]:
    """Boxes have x1 <= x2 and y1 <= y2. Judged: boxes of four coordinates."""
    for g in _geometries(record, ledger):
        if g.key != "bbox_2d":
            continue
        if g.numbers is None or len(g.numbers) != BOX_VALUES:
            ledger.left_out(g.path, "it is no box of four coordinates")
            continue
        ledger.judged()
        if record.chart == "xyxy" and not is_ordered(g.numbers):
            yield Problem("a box has x1 <= x2 and y1 <= y2", g.path, "x1 <= x2, y1 <= y2", list(g.values))


def never_reordered(record: Record, ledger: Ledger) -> Iterator[Problem]:
    """Objects stand in top-left order: by y, then x. Judged: the record, if it has two objects to compare."""
    if record.ordering != "sorted":
        raise Undecided("its objects may stand in any order")
    before, compared = None, 0
    for g in _geometries(record, ledger):
        if g.numbers is None or len(g.numbers) < 2:
            ledger.left_out(g.path, "it has no top-left corner")
            continue
        if g.key == "bbox_2d" and len(g.numbers) == BOX_VALUES:
            anchor = top_left(corners(g.numbers, record.chart or "xyxy"))
        else:
            anchor = top_left(g.numbers)
        if before is not None:
            compared += 1
            if anchor < before:
                message = "objects stand in top-left order: by y, then x, of their top-left corner"
                yield Problem(message, f"objects[{g.at}]", f"(y, x) >= {before}", str(anchor))
        before = anchor
    ledger.judged(min(compared, 1))


PREDICATES: dict[str, Predicate] = {
    f"geometry.{p.__name__}": p for p in (record_contract, bins_in_range, box_ordered, never_reordered)
}


def problems(record: Record) -> Iterator[tuple[str, Problem]]:
    """Every way in which a record is wrong, with the claim that it breaks; the contract first."""
    for claim, predicate in PREDICATES.items():
        if claim != "geometry.never_reordered" or record.ordering == "sorted":
            yield from ((claim, p) for p in predicate(record, Ledger()))


def _geometries(record: Record, ledger: Ledger) -> list[Geometry]:
    """Each object's one geometry; what has none that can be read is left out."""
    found, without = record.geometries
    for path in without:
        why = "there is no such list" if path == "objects" else "it has not exactly one geometry that is a list"
        ledger.left_out(path, why)
    return found


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def _shown(value: Mapping[str, Any], key: str) -> Any:
    if key not in value:
        return "missing"
    found = value[key]
    return found if isinstance(found, (int, float, bool)) else _kind(found)
