"""Which lines are sound beyond doubt, many at a time: they are decoded into the types of lines that were judged.

The claims' predicates judge the first lines, and every line that is not sound beyond doubt. What they found sound says
which keys such a file's records have; a block of lines that fits these types, in which no key can stand twice and all
boxes are in order, holds nothing that a predicate could find. A test compares the two.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET, Meta, UnsetType

from coordexp_audit_lib.boundaries.geometry.artifact.how import How
from coordexp_audit_lib.boundaries.geometry.artifact.lines import each_key_once, keys_of
from coordexp_audit_lib.boundaries.geometry.predicates.records import LONGEST_SIDE, PREPARED, ROUNDED, Record
from coordexp_audit_lib.kit.boxes import BIN_OF_TOKEN, LAST_BIN, TOKENS, corners

RETURN, OPENING, CLOSING = b"\r{}"
MANY_KEYS = 64
LEARNED = 16  # times that the types may change
Bin = enum.Enum("Bin", {"FIRST": TOKENS[0]})
Bin._value2member_map_ = dict(BIN_OF_TOKEN)  # type: ignore[arg-type]  # so that a token is decoded to its bin, an int
Int = Annotated[int, Meta(ge=0, le=LAST_BIN)]
Pixel = Annotated[int, Meta(ge=0, le=LONGEST_SIDE)] | Annotated[float, Meta(ge=0, le=float(LONGEST_SIDE))]
Side = Annotated[int, Meta(gt=0, le=LONGEST_SIDE)]
Text = Annotated[str, Meta(min_length=1)]
Scalar = str | int | float | bool | None
_OBJECTS, _DESC, _BOX, _POLY = map(attrgetter, ("objects", "desc", "bbox_2d", "poly"))
FLAT, DEEP = 1, 2  # how deep a value holds keys


Fields = tuple[list[Any], dict[str, str], list[str], list[tuple[str, int]]]


class Counts(NamedTuple):
    """What was judged of lines that are sound: records, coordinates, boxes, and records with objects to compare.
    unframed: records whose coordinates can't be compared with anything."""

    records: int
    coordinates: int
    boxes: int
    compared: int
    unframed: int = 0


class Keys:
    """The keys of one kind of object: how many had each, and whether its value can hold keys itself."""

    def __init__(self) -> None:
        self.objects = 0
        self.times: dict[str, int] = {}
        self.depth: dict[str, int] = {}

    def see(self, item: dict[str, Any]) -> None:
        self.objects += 1
        for key, value in item.items():
            self.times[key] = self.times.get(key, 0) + 1
            self.depth[key] = max(self.depth.get(key, 0), _depth(value))

    def see_also(self, key: str) -> None:
        """A key that was there, and has a type of its own."""
        self.times[key], self.depth[key] = self.times.get(key, 0) + 1, 0

    @property
    def shape(self) -> tuple[Any, ...]:
        """What the type depends on."""
        return tuple((k, self.times[k] == self.objects, self.depth[k]) for k in sorted(self.times))

    def fields(self, types: dict[str, Any]) -> Fields:
        """Of the type: its fields, their keys, the names of those that may be missing, and of those that hold keys with
        how deep."""
        fields: list[Any] = []
        rename, optional, holding = {}, [], []
        for i, (key, always, depth) in enumerate(self.shape):
            name = key if key in types else f"other_{i}"
            kind = types.get(key, (Scalar, dict[str, Scalar], Any)[depth])
            rename[name] = key
            fields.append((name, kind) if always else (name, kind | UnsetType if kind is not Any else Any, UNSET))
            optional += [] if always else [name]
            holding += [(name, depth)] if depth and key not in types else []
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
        self.items = _OBJECTS
        self.decoder: Any = None
        self.listed: Any = None

    def learn(self, record: Record) -> None:
        """Take a sound record for a sign of what the others are like."""
        value = record.value
        if self.turns >= LEARNED or not value.get("objects"):
            return
        if not all(map(can_be_named, (value, *value["objects"]))):
            return
        if self.chart and record.chart != self.chart:
            self.turns = LEARNED
        self.chart = record.chart
        self.top.see(value)
        for item in value["objects"]:
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
            "desc": Text,
            "bbox_2d": tuple[coordinate, coordinate, coordinate, coordinate],
            "poly": Annotated[list[coordinate], Meta(min_length=6)],
            "poly_points": int,
        }
        made, self.inner_optional, self.inner_holding = struct_of("Object", self.inner.fields(inner))
        self.has = {name: name in self.inner.times for name in ("bbox_2d", "poly", "poly_points")}
        objects = list[made]  # type: ignore[valid-type]
        top = {"images": list[Text], "objects": objects, "width": Side, "height": Side}
        record, self.top_optional, self.top_holding = struct_of("Record", self.top.fields(top))
        self.metadata = next((n for n, k in record.__struct_names__ if k == "metadata"), "")
        self.top_keys = len(self.top.times) - len(self.top_optional)
        self.inner_keys = len(self.inner.times) - len(self.inner_optional)
        self._decoders(record)

    def _decoders(self, record: Any) -> None:
        self.decoder, self.listed = msgspec.json.Decoder(record), msgspec.json.Decoder(list[record])

    def decode_array(self, text: bytes) -> list[Any] | None:
        """The records of a JSON array; None unless each fits the types."""
        try:
            made: list[Any] | None = self.listed.decode(text) if self.listed else None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        return made

    def decode(self, text: bytes, ends: Any = None) -> list[Any] | None:
        """The records of a block; None unless each stands on a line of its own and fits the types.

        Args:
            ends: where the lines end in `text`; None where it is one record.
        """
        if self.decoder is None:
            return None
        try:
            records: list[Any] = self.decoder.decode_lines(text) if ends is not None else [self.decoder.decode(text)]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        return records if ends is None or len(records) == _one_a_line(text, ends) else None

    def sound(self, text: bytes, records: Sequence[Any]) -> Counts | None:
        """What is counted of decoded records that are sound beyond doubt; None where one may not be."""
        of_corners = self.space == "bins" and self.chart == "xyxy" and not self.has["poly"]
        drawn = self._corners(records) if of_corners else self._any(list(chain.from_iterable(map(_OBJECTS, records))))
        if drawn is None or not self._named(records):
            return None
        coordinates, boxes, objects = drawn
        if not each_key_once(text, self._keys(records, objects)):
            return None
        compared = 0
        if self.how.ordering == "sorted":
            if self.chart != "xyxy" or not all(map(_is_sorted, records)):
                return None
            compared = sum(len(r.objects) > 1 for r in records)
        return Counts(len(records), coordinates, boxes, compared)

    def _corners(self, records: Sequence[Any]) -> tuple[int, int, int] | None:
        """Of records whose objects all have a box of bins: coordinates, boxes and objects, where all are sound."""
        if [
            1
            for r in records
            for o in r.objects
            for x1, y1, x2, y2 in (o.bbox_2d,)
            if x1 >= x2 or y1 >= y2 or o.desc.isspace()
        ]:
            return None
        boxes = sum(map(len, map(_OBJECTS, records)))
        return 4 * boxes, boxes, boxes

    def _any(self, objects: list[Any]) -> tuple[int, int, int] | None:
        """The same of any other records; that pixels lie in the image is looked at by `_named`."""
        boxes, polys = self._geometries(objects)
        if boxes is None or any(map(str.isspace, map(_DESC, objects))):
            return None
        if self.chart != "xyxy":
            if any(not _is_inside(corners(box, self.chart)) for box in boxes):
                return None
        elif [1 for x1, y1, x2, y2 in boxes if x1 >= x2 or y1 >= y2]:
            return None
        return 4 * len(boxes) + sum(map(len, polys)), len(boxes), len(objects)

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

    def _keys(self, records: Sequence[Any], number: int) -> int:
        """How many keys were read of the records, and of all their objects, of which there are `number`."""
        count = self.top_keys * len(records) + self.inner_keys * number
        held = bool(self.inner_optional or self.inner_holding)
        objects = list(chain.from_iterable(map(self.items, records))) if held else []
        for names, items in ((self.top_optional, records), (self.inner_optional, objects)):
            for name in names:
                count += sum([value is not UNSET for value in map(attrgetter(name), items)])
        for holding, items in ((self.top_holding, records), (self.inner_holding, objects)):
            for name, depth in holding:
                values = [v for v in map(attrgetter(name), items) if v is not UNSET]
                if depth == FLAT:
                    count += sum(map(len, values))
                else:
                    count += sum([keys_of(v) for v in values if isinstance(v, (dict, list))])
        return count

    def _named(self, records: Sequence[Any]) -> bool:
        """Whether images are paths below the file's folder, boxes are drawn as in the first, and sizes are allowed."""
        if [
            1
            for r in records
            for name in r.images
            if ":" in name or ".." in name or "\\" in name or name[0] in "/~" or name.isspace()
        ]:
            return False
        if self.metadata and not self._same_chart(list(map(attrgetter(self.metadata), records))):
            return False
        if self.space == "pixels" and not self._in_images(records):
            return False
        most, multiple = self.how.max_pixels, self.how.multiple_of
        if most and any(r.width * r.height > most for r in records):
            return False
        return not multiple or not any(r.width % multiple or r.height % multiple for r in records)

    def _in_images(self, records: Sequence[Any]) -> bool:
        """Whether pixels lie in the image; that boxes are in order was looked at."""
        if self.has["poly"] or self.chart != "xyxy":
            return not any(_leaves_image(o, r.width, r.height) for r in records for o in r.objects)
        return not [
            1
            for r in records
            for wide, high in ((r.width, r.height),)
            for o in r.objects
            for _, _, x2, y2 in (o.bbox_2d,)
            if x2 > wide or y2 > high
        ]

    def _same_chart(self, metadata: list[Any]) -> bool:
        if self.chart == "xyxy":
            return not [
                1 for m in metadata if isinstance(m, dict) and PREPARED in m and m[PREPARED] not in (None, "", "xyxy")
            ]
        return all(isinstance(m, dict) and m.get(PREPARED) == self.chart for m in metadata)


def _is_inside(edges: Sequence[float]) -> bool:
    return min(edges) >= -ROUNDED and max(edges) <= LAST_BIN + ROUNDED


def _leaves_image(item: Any, width: int, height: int) -> bool:
    points = getattr(item, "bbox_2d", UNSET)
    points = item.poly if points is UNSET else points
    return bool(max(points[0::2]) > width or max(points[1::2]) > height)


def struct_of(name: str, made: Fields) -> tuple[Any, list[str], list[tuple[str, int]]]:
    fields, rename, optional, holding = made
    fields.sort(key=len)  # fields without a default come first
    space = {"__struct_names__": tuple(rename.items())}
    struct = msgspec.defstruct(name, fields, rename=rename, namespace=space, gc=False, forbid_unknown_fields=True)
    return struct, optional, holding


def can_be_named(item: dict[str, Any]) -> bool:
    """Whether a type can have fields for all keys."""
    return len(item) <= MANY_KEYS and all(k.isprintable() and "\\" not in k and '"' not in k for k in item)


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return DEEP if any(isinstance(v, (dict, list)) for v in value.values()) else FLAT
    return DEEP if isinstance(value, list) else 0


def _one_a_line(text: bytes, ends: Any) -> int:
    """How many lines there are; -1 unless each begins as an object and ends as one."""
    codes = np.frombuffer(text, np.uint8)
    if not len(ends) or ends[-1] != len(codes) - 1:
        ends = np.append(ends, len(codes))
    last = codes[ends - 1]
    if (last == RETURN).any():
        last = np.where(last == RETURN, codes[np.maximum(ends - 2, 0)], last)
    begins = codes[np.append(0, ends[:-1] + 1)]
    return len(ends) if (last == CLOSING).all() and (begins == OPENING).all() else -1


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
