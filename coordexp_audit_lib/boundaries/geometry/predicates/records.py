"""What a dataset record must be: one predicate a claim, over a record as JSON gives it.

The reference, the guard and the audit of data files judge with these. What stops a predicate from judging a part of a
record (an object that is none, a geometry that is no list) is said in the ledger: it is another claim's violation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from coordexp_audit_lib.core.claim import Ledger, Predicate
from coordexp_audit_lib.core.problem import Problem, Undecided
from coordexp_audit_lib.kit.boxes import bin_of, is_ordered, top_left

GEOMETRY_KEYS = ("bbox_2d", "poly")
LEGACY_KEYS = ("bbox", "polygon")
BOX_VALUES, LEAST_POLY_VALUES = 4, 6

Space = Literal["bins", "pixels"]
Ordering = Literal["sorted", "random"]


class Record(msgspec.Struct, frozen=True):
    """A dataset record. value: anything that JSON can hold, for malformed ones are part of the question.

    space: what its coordinates are: bins (tokens or ints in 0..999), or pixels within width and height. ordering:
    `sorted` demands that objects stand in top-left order.
    """

    value: Any
    space: Space = "bins"
    ordering: Ordering = "random"

    def number(self, value: Any, i: int) -> float | None:
        """A geometry's i-th value as a number of the record's space; None if it is none."""
        if self.space == "bins":
            return bin_of(value)
        size = self.value.get("width" if i % 2 == 0 else "height")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not isinstance(size, int):
            return None
        return float(value) if 0 <= value <= size else None


def record_contract(record: Record, ledger: Ledger) -> Iterator[Problem]:
    """Images, width, height, objects; of each object desc and one geometry of the right arity. Judged: the record."""
    ledger.judged()
    value = record.value
    if not isinstance(value, Mapping):
        yield Problem("a record is a JSON object", "", "object", _kind(value))
        return
    yield from _images(value)
    for name in ("width", "height"):
        size = value.get(name)
        if not isinstance(size, int) or isinstance(size, bool) or size <= 0:
            yield Problem(f"{name} is a positive integer", name, "positive int", _shown(value, name))
    objects = value.get("objects")
    if not isinstance(objects, list):
        yield Problem("objects is a list", "objects", "list", _shown(value, "objects"))
        return
    for i, item in enumerate(objects):
        yield from _object(item, f"objects[{i}]")


def _images(value: Mapping[str, Any]) -> Iterator[Problem]:
    images = value.get("images")
    if not isinstance(images, list):
        yield Problem("images is a list of paths", "images", "list", _shown(value, "images"))
        return
    for i, image in enumerate(images):
        if not isinstance(image, str):
            yield Problem("an image is a path", f"images[{i}]", "string", _kind(image))


def _object(item: Any, path: str) -> Iterator[Problem]:
    if not isinstance(item, Mapping):
        yield Problem("an object is a JSON object", path, "object", _kind(item))
        return
    if not isinstance(item.get("desc"), str):
        yield Problem("desc is a string", f"{path}.desc", "string", _shown(item, "desc"))
    legacy = [k for k in LEGACY_KEYS if k in item]
    for key in legacy:
        yield Problem("a legacy geometry key; rename it", f"{path}.{key}", "bbox_2d or poly", key)
    present = [k for k in GEOMETRY_KEYS if k in item]
    if len(present) != 1:
        if not (legacy and not present):
            yield Problem("an object has exactly one geometry, bbox_2d or poly", path, 1, len(present))
        return
    key, values = present[0], item[present[0]]
    path = f"{path}.{key}"
    if not isinstance(values, list):
        yield Problem("a geometry is a flat list", path, "list", _kind(values))
    elif key == "bbox_2d" and len(values) != BOX_VALUES:
        yield Problem("a box has 4 coordinates", path, BOX_VALUES, len(values))
    elif key == "poly" and (len(values) < LEAST_POLY_VALUES or len(values) % 2):
        yield Problem("a polygon has an even number of coordinates, at least 6", path, "even, >= 6", len(values))


def bins_in_range(record: Record, ledger: Ledger) -> Iterator[Problem]:
    """Coordinates are numbers of the record's space. Judged: coordinates."""
    demanded = "a token or int in 0..999" if record.space == "bins" else "a number within the image"
    for path, _, values in _geometries(record, ledger):
        ledger.judged(len(values))
        for i, value in enumerate(values):
            if record.number(value, i) is None:
                yield Problem(f"a coordinate is {demanded}", f"{path}[{i}]", demanded, value)


def box_ordered(record: Record, ledger: Ledger) -> Iterator[Problem]:
    """Boxes have x1 <= x2 and y1 <= y2. Judged: boxes of four coordinates."""
    for path, key, values in _geometries(record, ledger):
        if key != "bbox_2d":
            continue
        corners = _numbers(record, values)
        if corners is None or len(corners) != BOX_VALUES:
            ledger.left_out(path, "it is no box of four coordinates")
            continue
        ledger.judged()
        if not is_ordered(corners):
            yield Problem("a box has x1 <= x2 and y1 <= y2", path, "x1 <= x2, y1 <= y2", list(values))


def never_reordered(record: Record, ledger: Ledger) -> Iterator[Problem]:
    """Objects stand in top-left order: by y, then x. Judged: the record, if it has two objects to compare."""
    if record.ordering != "sorted":
        raise Undecided("its objects may stand in any order")
    before, compared = None, 0
    for path, _, values in _geometries(record, ledger):
        points = _numbers(record, values)
        if points is None or len(points) < 2:
            ledger.left_out(path, "it has no top-left corner")
            continue
        anchor = top_left(points)
        if before is not None:
            compared += 1
            if anchor < before:
                message = "objects stand in top-left order: by y, then x, of their top-left corner"
                yield Problem(message, path.rpartition(".")[0], f"(y, x) >= {before}", str(anchor))
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


def _geometries(record: Record, ledger: Ledger) -> Iterator[tuple[str, str, list[Any]]]:
    """(path, key, values) of each object's one geometry; what has none that can be read is left out."""
    objects = record.value.get("objects") if isinstance(record.value, Mapping) else None
    if not isinstance(objects, list):
        ledger.left_out("objects", "there is no such list")
        return
    for i, item in enumerate(objects):
        present = [k for k in GEOMETRY_KEYS if k in item] if isinstance(item, Mapping) else []
        if len(present) == 1 and isinstance(item[present[0]], list):
            yield f"objects[{i}].{present[0]}", present[0], item[present[0]]
        else:
            ledger.left_out(f"objects[{i}]", "it has not exactly one geometry that is a list")


def _numbers(record: Record, values: list[Any]) -> list[float] | None:
    found = [record.number(v, i) for i, v in enumerate(values)]
    return None if None in found else [float(f) for f in found if f is not None]


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def _shown(value: Mapping[str, Any], key: str) -> Any:
    if key not in value:
        return "missing"
    found = value[key]
    return found if isinstance(found, (int, float, bool)) else _kind(found)
