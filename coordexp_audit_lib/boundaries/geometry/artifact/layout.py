"""Which lines are sound beyond doubt, many at a time: they are decoded into the types of lines that were judged.

The claims' predicates judge the first lines, and every line that is not sound beyond doubt. What they found sound says
which keys such a file's records have; a block of lines that fits these types, in which no key can stand twice and all
boxes are in order, holds nothing that a predicate could find. A test compares the two.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from coordexp_audit_lib.boundaries.geometry.artifact.how import How
from coordexp_audit_lib.boundaries.geometry.artifact.lines import each_key_once, keys_of
from coordexp_audit_lib.boundaries.geometry.predicates.records import LONGEST_SIDE, PREPARED, Record
from coordexp_audit_lib.kit.boxes import BIN_OF_TOKEN, LAST_BIN

MANY_KEYS = 64
LEARNED = 16  # times that the types may change
_OUTSIDE = re.compile(r"^(?:[/\\~]|data:|.:|\s*$)|://|\.\.", re.MULTILINE)
Bin = enum.Enum("Bin", {f"B{k}": token for token, k in BIN_OF_TOKEN.items()})  # type: ignore[misc]
Bin._value2member_map_ = dict(BIN_OF_TOKEN)  # type: ignore[arg-type]  # so that a token is decoded to its bin, an int
Int = Annotated[int, Meta(ge=0, le=LAST_BIN)]
Pixel = Annotated[int, Meta(ge=0, le=LONGEST_SIDE)] | Annotated[float, Meta(ge=0, le=float(LONGEST_SIDE))]
Side = Annotated[int, Meta(gt=0, le=LONGEST_SIDE)]
Scalar = str | int | float | bool | None
_OBJECTS, _DESC, _BOX, _POLY = map(attrgetter, ("objects", "desc", "bbox_2d", "poly"))


Fields = tuple[list[Any], dict[str, str], list[str], list[str]]


class Counts(NamedTuple):
    """What was judged of lines that are sound: records, coordinates, boxes, and records with objects to compare."""

    records: int
    coordinates: int
    boxes: int
    compared: int


class Keys:
    """The keys of one kind of object: how many had each, and whether its value can hold keys itself."""

    def __init__(self) -> None:
        self.objects = 0
        self.times: dict[str, int] = {}
        self.nested: dict[str, bool] = {}

    def see(self, item: dict[str, Any]) -> None:
        self.objects += 1
        for key, value in item.items():
            self.times[key] = self.times.get(key, 0) + 1
            self.nested[key] = self.nested.get(key, False) or isinstance(value, (dict, list))

    @property
    def shape(self) -> tuple[Any, ...]:
        """What the type depends on."""
        return tuple((k, self.times[k] == self.objects, self.nested[k]) for k in sorted(self.times))

    def fields(self, types: dict[str, Any]) -> Fields:
        """Of the type: its fields, their keys, the names of those that may be missing, and of those that hold keys."""
        fields, rename, optional, holding = [], {}, [], []
        for i, (key, always, nested) in enumerate(self.shape):
            name = key if key in types else f"other_{i}"
            kind = types.get(key, Any if nested else Scalar)
            rename[name] = key
            fields.append((name, kind) if always else (name, kind | UnsetType if kind is not Any else Any, UNSET))
            optional += [] if always else [name]
            holding += [name] if nested and key not in types else []
        return fields, rename, optional, holding


class Layout:
    """The types of a file's records of objects, as its sound lines show them. `how`: what else is demanded of them."""

    def __init__(self, how: How, space: str) -> None:
        self.how, self.space = how, space
        self.top, self.inner = Keys(), Keys()
        self.kinds: set[type] = set()
        self.shape: tuple[Any, ...] = ()
        self.turns = 0
        self.chart = ""
        self.decoder: Any = None

    def learn(self, record: Record) -> None:
        """Take a sound record for a sign of what the others are like."""
        value = record.value
        if self.turns >= LEARNED or len(value) > MANY_KEYS or not value.get("objects"):
            return
        if self.chart and record.chart != self.chart:
            self.turns = LEARNED
        self.chart = record.chart
        self.top.see(value)
        for item in value["objects"]:
            if len(item) > MANY_KEYS:
                return
            self.inner.see(item)
        for g in record.geometries[0]:
            self.kinds.update(map(type, g.values))
        shape = (self.top.shape, self.inner.shape, tuple(sorted(k.__name__ for k in self.kinds)))
        if shape != self.shape:
            self.shape, self.turns = shape, self.turns + 1
            self._make()

    def _make(self) -> None:
        """The types of what was seen: fields that all had are demanded, keys that none had are refused."""
        coordinate: Any = Pixel if self.space == "pixels" else Bin
        if self.space != "pixels" and int in self.kinds:
            coordinate = Bin | Int if str in self.kinds else Int
        inner = {
            "desc": str,
            "bbox_2d": tuple[coordinate, coordinate, coordinate, coordinate],
            "poly": Annotated[list[coordinate], Meta(min_length=6)],
            "poly_points": int,
        }
        made, self.inner_optional, self.inner_holding = _struct("Object", self.inner.fields(inner))
        self.has = {name: name in self.inner.times for name in ("bbox_2d", "poly", "poly_points")}
        objects = list[made]  # type: ignore[valid-type]
        top = {"images": list[str], "objects": objects, "width": Side, "height": Side}
        record, self.top_optional, self.top_holding = _struct("Record", self.top.fields(top))
        self.metadata = next((n for n, k in record.__struct_names__ if k == "metadata"), "")
        self.top_keys = len(self.top.times) - len(self.top_optional)
        self.inner_keys = len(self.inner.times) - len(self.inner_optional)
        self.decoder = msgspec.json.Decoder(record)

    def decode(self, text: bytes, lines: bool) -> list[Any] | None:
        """The records of a block; None unless each stands on a line of its own and fits the types."""
        if self.decoder is None:
            return None
        try:
            records: list[Any] = self.decoder.decode_lines(text) if lines else [self.decoder.decode(text)]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        if not lines:
            return records
        ends = text.count(b"\n") + (not text.endswith(b"\n"))
        between = text.count(b"}\n{") or text.count(b"}\r\n{")
        return records if len(records) == ends == between + 1 else None

    def sound(self, text: bytes, records: Sequence[Any]) -> Counts | None:
        """What is counted of decoded records that are sound beyond doubt; None where one may not be."""
        objects = list(chain.from_iterable(map(_OBJECTS, records)))
        boxes, polys = self._geometries(objects)
        if boxes is None or not self._in_order(records, boxes) or not all(map(str.strip, map(_DESC, objects))):
            return None
        if not each_key_once(text, self._keys(records, objects)) or not self._named(records):
            return None
        compared = 0
        if self.how.ordering == "sorted":
            if self.chart != "xyxy" or not all(map(_is_sorted, records)):
                return None
            compared = sum(len(r.objects) > 1 for r in records)
        return Counts(len(records), 4 * len(boxes) + sum(map(len, polys)), len(boxes), compared)

    def _geometries(self, objects: list[Any]) -> tuple[list[Any] | None, list[Any]]:
        """All boxes and all polygons; None where an object has not exactly one, or polygons do not fit."""
        if not self.has["poly"]:
            return list(map(_BOX, objects)) if self.has["bbox_2d"] else None, []
        polys = [p for p in map(_POLY, objects) if p is not UNSET]
        boxes = [b for b in map(_BOX, objects) if b is not UNSET] if self.has["bbox_2d"] else []
        if self.chart != "xyxy" or len(boxes) + len(polys) != len(objects) or any(len(p) % 2 for p in polys):
            return None, []
        if self.has["bbox_2d"] and any((o.bbox_2d is UNSET) is (o.poly is UNSET) for o in objects):
            return None, []
        if self.has["poly_points"] and any(
            o.poly_points is not UNSET and (o.poly is UNSET or o.poly_points * 2 != len(o.poly)) for o in objects
        ):
            return None, []
        return boxes, polys

    def _in_order(self, records: Sequence[Any], boxes: list[Any]) -> bool:
        if self.space == "pixels":
            for r in records:
                for o in r.objects:
                    points = o.bbox_2d if self.has["bbox_2d"] and o.bbox_2d is not UNSET else o.poly
                    if max(points[0::2]) > r.width or max(points[1::2]) > r.height:
                        return False
        if self.chart != "xyxy":
            return False
        return not [1 for x1, y1, x2, y2 in boxes if x1 >= x2 or y1 >= y2]

    def _keys(self, records: Sequence[Any], objects: list[Any]) -> int:
        """How many keys were read."""
        count = self.top_keys * len(records) + self.inner_keys * len(objects)
        for names, items in ((self.top_optional, records), (self.inner_optional, objects)):
            for name in names:
                count += sum([value is not UNSET for value in map(attrgetter(name), items)])
        for names, items in ((self.top_holding, records), (self.inner_holding, objects)):
            for name in names:
                count += sum([keys_of(v) for v in map(attrgetter(name), items) if isinstance(v, (dict, list))])
        return count

    def _named(self, records: Sequence[Any]) -> bool:
        """Whether images are paths below the file's folder, boxes are drawn as in the first, and sizes are allowed."""
        if _OUTSIDE.search("\n".join(chain.from_iterable(map(attrgetter("images"), records)))):
            return False
        if self.metadata:
            given = map(attrgetter(self.metadata), records)
            if any(m.get(PREPARED) not in (None, "", "xyxy") for m in given if isinstance(m, dict)):
                return False
        most, multiple = self.how.max_pixels, self.how.multiple_of
        if most and any(r.width * r.height > most for r in records):
            return False
        return not multiple or not any(r.width % multiple or r.height % multiple for r in records)


def _struct(
    name: str, made: tuple[list[Any], dict[str, str], list[str], list[str]]
) -> tuple[Any, list[str], list[str]]:
    fields, rename, optional, holding = made
    fields.sort(key=len)  # fields without a default come first
    space = {"__struct_names__": tuple(rename.items())}
    struct = msgspec.defstruct(name, fields, rename=rename, namespace=space, gc=False, forbid_unknown_fields=True)
    return struct, optional, holding


def _is_sorted(record: Any) -> bool:
    before = (-1.0, -1.0)
    for o in record.objects:
        box = getattr(o, "bbox_2d", UNSET)
        anchor = (box[1], box[0]) if box is not UNSET else (min(o.poly[1::2]), min(o.poly[0::2]))
        if anchor < before:
            return False
        before = anchor
    return True


def counted(counts: Counts) -> dict[str, int]:
    """How many cases each claim judged."""
    return {
        "geometry.record_contract": counts.records,
        "geometry.bins_in_range": counts.coordinates,
        "geometry.box_ordered": counts.boxes,
        "geometry.never_reordered": counts.compared,
    }
