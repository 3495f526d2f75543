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
from coordexp_audit_lib.kit.boxes import BIN_OF_TOKEN, bin_of, is_ordered, top_left

GEOMETRY_KEYS = ("bbox_2d", "poly")
LEGACY_KEYS = ("bbox", "polygon")
FOREIGN_KEYS = (*LEGACY_KEYS, "line")
FOREIGN = "a geometry key of an older or another format; rename, convert or drop it"
BOX_VALUES, LEAST_POLY_VALUES = 4, 6

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
    `sorted` demands that objects stand in top-left order. relative: whether images must be relative paths, as in files.
    """

    value: Any
    space: Space = "bins"
    ordering: Ordering = "random"
    relative: bool = False

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
    for name in ("width", "height"):
        size = value.get(name)
        if not isinstance(size, int) or isinstance(size, bool) or size <= 0:
            yield Problem(f"{name} is a positive integer", name, "positive int", _shown(value, name))
    objects = value.get("objects")
    if not isinstance(objects, list):
        yield Problem("objects is a list", "objects", "list", _shown(value, "objects"))
        return
    for i, item in enumerate(objects):
        for subject, (message, expected, actual) in _object(item).items():
            yield Problem(message, f"objects[{i}]{subject}", expected, actual)


def _images(value: Mapping[str, Any], relative: bool) -> Iterator[Problem]:
    images = value.get("images")
    if not isinstance(images, list):
        yield Problem("images is a list of paths", "images", "list", _shown(value, "images"))
        return
    for i, image in enumerate(images):
        if not isinstance(image, str):
            yield Problem("an image is a path", f"images[{i}]", "string", _kind(image))
        elif relative and _leaves(image):
            message = "an image is a path below the file's folder: not absolute, no URL, no .."
            yield Problem(message, f"images[{i}]", "a relative path", image)


def _leaves(image: str) -> bool:
    """Whether a path is absolute on any system, a URL, or climbs out."""
    return image.startswith(("/", "\\", "~")) or "://" in image or image[1:2] == ":" or ".." in image.split("/")


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


def box_ordered(record: Record, ledger: Ledger) -> Iterator[Problem]:
    """Boxes have x1 <= x2 and y1 <= y2. Judged: boxes of four coordinates."""
    for g in _geometries(record, ledger):
        if g.key != "bbox_2d":
            continue
        if g.numbers is None or len(g.numbers) != BOX_VALUES:
            ledger.left_out(g.path, "it is no box of four coordinates")
            continue
        ledger.judged()
        if not is_ordered(g.numbers):
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
