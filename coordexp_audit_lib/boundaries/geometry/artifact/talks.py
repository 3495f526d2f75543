"""Which conversations are sound beyond doubt, as `layout` says it of records of objects: turns, one kind of images, and
answers that hold one JSON list of boxes, points and labels, or Qwen-VL's box tokens; and ms-swift's boxes beside the
turns. All else is judged by itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from coordexp_audit_lib.boundaries.geometry.artifact.framed import Drawn, are_in_order, fit, fit_as_before, lacks_sizes
from coordexp_audit_lib.boundaries.geometry.artifact.how import How
from coordexp_audit_lib.boundaries.geometry.artifact.layout import (
    LEARNED,
    Counts,
    Layout,
    Side,
    Text,
    can_be_named,
    struct_of,
)
from coordexp_audit_lib.boundaries.geometry.artifact.lines import each_key_once
from coordexp_audit_lib.boundaries.geometry.predicates.frames import Fitting
from coordexp_audit_lib.boundaries.geometry.predicates.grounding import ASSISTANT, MEDIA, OTHERS, Talk

SPELLINGS = (("role", "content"), ("from", "value"))
LISTED = ("messages", "conversations")
PICTURES = ("images", "image")
NOT_HERE = {"objects", *(key for keys in MEDIA.values() for key in keys)} - set(PICTURES)
Role = Literal[(*ASSISTANT, *OTHERS)]  # type: ignore[valid-type]


class Answered(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """An object of an answer: one of the two."""

    bbox_2d: tuple[float, float, float, float] | UnsetType = UNSET
    bbox: tuple[float, float, float, float] | UnsetType = UNSET
    point_2d: tuple[float, float] | UnsetType = UNSET
    label: str = ""


ANSWER = msgspec.json.Decoder(list[Answered])
_SPELLED = re.compile(r"<\|box_start\|>\((\d{1,9}),\s*(\d{1,9})\),\s*\((\d{1,9}),\s*(\d{1,9})\)<\|box_end\|>")
_WORDS = ("bbox", "point_2d", "box_start")
_BOX, _ALSO_BOX, _POINT = map(attrgetter, ("bbox_2d", "bbox", "point_2d"))


class TalkLayout(Layout):
    """The types of a file's conversations, as its sound lines show them.

    Args:
        fitting: which frames fitted so far, where `how` says none.
    """

    known: frozenset[str] = frozenset()  # of the keys that are not here, those that this layout has a type for

    def __init__(self, how: How, fitting: Fitting) -> None:
        super().__init__(how, "bins")
        self.fitting = fitting
        self.spelled: tuple[Any, str] | None = None
        self.pictures = ""
        self.sized = False

    def learn(self, record: Any) -> None:
        talk: Talk = record
        value = talk.value
        listed = [k for k in LISTED if k in value]
        pictures = [k for k in PICTURES if k in value]
        if self.turns >= LEARNED or len(listed) != 1 or len(pictures) > 1 or (NOT_HERE - self.known) & value.keys():
            return
        turns = value[listed[0]]
        spelling = next((s for s in SPELLINGS if all(t.keys() >= set(s) for t in turns)), None)
        others = {k for s in SPELLINGS if s != spelling for k in s}
        if spelling is None or any(others & t.keys() for t in turns) or not all(map(can_be_named, (value, *turns))):
            return
        if not all(isinstance(t[spelling[1]], str) for t in turns):
            return
        self.spelled = self.spelled or (spelling, listed[0])
        self.pictures = self.pictures or "".join(pictures)
        if self.spelled != (spelling, listed[0]) or pictures not in ([], [self.pictures]):
            return  # a file that spells its records in more than one way
        self._see(value, turns)
        if self.turns < LEARNED and self._shape() != self.shape:
            self.shape, self.turns = self._shape(), self.turns + 1
            self._make()

    def _see(self, value: dict[str, Any], turns: list[dict[str, Any]]) -> None:
        self.top.see(value)
        for turn in turns:
            self.inner.see(turn)

    def _shape(self) -> tuple[Any, ...]:
        return self.top.shape, self.inner.shape

    def _types(self) -> dict[str, Any]:
        """Of the record's keys, beside its turns."""
        return {"images": list[Text], "image": Text | list[Text], "width": Side, "height": Side}

    def _make(self) -> None:
        assert self.spelled is not None
        (role, content), listed = self.spelled
        turn, self.inner_optional, self.inner_holding = struct_of("Turn", self.inner.fields({role: Role, content: str}))
        names = {k: n for n, k in turn.__struct_names__}
        self.role, self.content = attrgetter(names[role]), attrgetter(names[content])
        types = {**self._types(), listed: list[turn]}  # type: ignore[valid-type]
        record, self.top_optional, self.top_holding = struct_of("Record", self.top.fields(types))
        self.items = attrgetter(listed)
        self.top_keys = len(self.top.times) - len(self.top_optional)
        self.inner_keys = len(self.inner.times) - len(self.inner_optional)
        self.sized = {"width", "height"} <= self.top.times.keys()
        self._decoders(record)

    def sound(self, text: bytes, records: Sequence[Any]) -> Counts | None:
        drawn, turns = Drawn(), 0
        for record in records:
            if not self._draw(record, drawn):
                return None
            drawn.close(self._size(record))
            turns += len(self.items(record))
        keys = self._keys(records, turns) + self._inner_keys(records)
        return self._counts(records, drawn) if each_key_once(text, keys) else None

    def _inner_keys(self, records: Sequence[Any]) -> int:
        """How many keys were read of what only some kinds of records have."""
        return 0

    def _size(self, record: Any) -> tuple[int, int] | None:
        """Width and height of a record's image, as it states them."""
        if not self.sized or record.width is UNSET or record.height is UNSET:
            return None
        return record.width, record.height

    def _counts(self, records: Sequence[Any], drawn: Drawn, frame: str = "") -> Counts | None:
        """What was judged, if all that is drawn is in order and in its frame."""
        frame = frame or self.how.frame
        if not are_in_order(drawn) or len(drawn.sizes) not in (0, len(records)):
            return None
        lacking = bool(frame) and lacks_sizes(drawn, frame)
        if not frame and not fit_as_before(drawn, self.fitting, self.how):
            return None
        if frame and not lacking and not fit(drawn, frame, self.how):
            return None
        unframed = drawn.drawn_in if lacking else 0
        return Counts(len(records), 0 if lacking else drawn.coordinates, len(drawn.boxes), 0, unframed)

    def _draw(self, record: Any, drawn: Drawn) -> bool:
        """Take in what the answers of a record draw; whether all else about it is sound."""
        marks, last = 0, ""
        for turn in self.items(record):
            content = self.content(turn)
            if "<" in content:
                marks += content.count("<image>")
                if "<video>" in content or "<audio>" in content:
                    return False
            if self.role(turn) in ASSISTANT:
                last = content
                if not self._answered(content, drawn):
                    return False
        return self._is_sound(record, marks, last)

    def _is_sound(self, record: Any, marks: int, last: str) -> bool:
        """Whether the last answer is one, and there are as many images as placeholders."""
        given = getattr(record, self.pictures, UNSET) if self.pictures else UNSET
        files = given if isinstance(given, list) else [] if given is UNSET else [given]
        return bool(last.strip()) and (not marks or marks == len(files)) and not any(map(str.isspace, files))

    def _answered(self, content: str, drawn: Drawn) -> bool:
        """Take in the boxes and points that an answer spells; False where it is not clear what they are."""
        named, pointed, spelled = map(content.count, _WORDS)
        if not named and not pointed:
            return not spelled or self._spelled(content, spelled, drawn)
        begin, end = content.find("["), content.rfind("]") + 1
        try:
            found = ANSWER.decode(content[begin:end])
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return False
        boxes = [b for b in map(_BOX, found) if b is not UNSET]
        also = [b for b in map(_ALSO_BOX, found) if b is not UNSET] if named != len(boxes) else []
        points = [p for p in map(_POINT, found) if p is not UNSET] if pointed else []
        if (len(boxes) + len(also), len(points), 0) != (named, pointed, spelled) or named + pointed != len(found):
            return False
        if content.count('"bbox_2d"') != len(boxes) or content.count('"bbox"') != len(also):
            return False
        if pointed and content.count('"point_2d"') != pointed:
            return False
        drawn.boxes += boxes
        drawn.boxes += also
        drawn.points += points
        return True

    def _spelled(self, content: str, number: int, drawn: Drawn) -> bool:
        """Of boxes between Qwen-VL's own tokens, which are in thousandths."""
        found = _SPELLED.findall(content)
        if len(found) != number or self.how.frame not in ("", "norm1000"):
            return False
        drawn.boxes += [tuple(map(float, one)) for one in found]
        return True


class Grounded(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """ms-swift's `objects`."""

    ref: list[Text] | UnsetType = UNSET
    bbox: list[tuple[float, float, float, float]] | UnsetType = UNSET
    bbox_type: Literal["real", "norm1", "norm1000"] | UnsetType = UNSET
    width: Side | UnsetType = UNSET
    height: Side | UnsetType = UNSET


class SwiftLayout(TalkLayout):
    """The same of ms-swift's grounding records, whose boxes stand beside the turns."""

    known = frozenset({"objects"})

    def _see(self, value: dict[str, Any], turns: list[dict[str, Any]]) -> None:
        objects = value["objects"]
        if not objects.keys() <= set(Grounded.__struct_fields__):
            self.turns = LEARNED
        super()._see({k: v for k, v in value.items() if k != "objects"}, turns)
        self.top.see_also("objects")

    def _types(self) -> dict[str, Any]:
        return {**super()._types(), "objects": Grounded}

    def _inner_keys(self, records: Sequence[Any]) -> int:
        found = list(map(attrgetter("objects"), records))
        return sum(sum([get(o) is not UNSET for o in found]) for get in map(attrgetter, Grounded.__struct_fields__))

    def _size(self, record: Any) -> tuple[int, int] | None:
        objects = record.objects
        if objects.width is not UNSET and objects.height is not UNSET:
            return objects.width, objects.height
        return super()._size(record)

    def _counts(self, records: Sequence[Any], drawn: Drawn, frame: str = "") -> Counts | None:
        frames = {"real" if r.objects.bbox_type is UNSET else r.objects.bbox_type for r in records}
        return super()._counts(records, drawn, frames.pop()) if len(frames) == 1 else None

    def _answered(self, content: str, drawn: Drawn) -> bool:
        return True

    def _draw(self, record: Any, drawn: Drawn) -> bool:
        objects = record.objects
        texts = list(map(self.content, self.items(record)))
        marked = [sum([t.count(mark) for t in texts]) for mark in ("<ref-object>", "<bbox>")]
        refs, boxes = (() if given is UNSET else given for given in (objects.ref, objects.bbox))
        if marked != [len(refs), len(boxes)] or any(map(str.isspace, refs)):
            return False
        drawn.boxes += boxes
        return super()._draw(record, drawn)
