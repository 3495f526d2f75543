"""Which conversations are sound beyond doubt, as `layout` says it of records of objects: turns, one kind of images, and
answers that are a JSON list of boxes and labels in shares or thousandths of the image. All else is judged by itself."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from coordexp_audit_lib.boundaries.geometry.artifact.how import How
from coordexp_audit_lib.boundaries.geometry.artifact.layout import (
    LEARNED,
    Counts,
    Layout,
    Text,
    can_be_named,
    struct_of,
)
from coordexp_audit_lib.boundaries.geometry.artifact.lines import each_key_once
from coordexp_audit_lib.boundaries.geometry.predicates.frames import LIMITS
from coordexp_audit_lib.boundaries.geometry.predicates.grounding import ASSISTANT, MEDIA, OTHERS, Talk

SPELLINGS = (("role", "content"), ("from", "value"))
LISTED = ("messages", "conversations")
PICTURES = ("images", "image")
NOT_HERE = {"objects", *(key for keys in MEDIA.values() for key in keys)} - set(PICTURES)
Role = Literal[(*ASSISTANT, *OTHERS)]  # type: ignore[valid-type]


class Answered(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """An object of an answer: one of the two."""

    bbox_2d: tuple[float, float, float, float] | UnsetType = UNSET
    point_2d: tuple[float, float] | UnsetType = UNSET
    label: str = ""


_ANSWER = msgspec.json.Decoder(list[Answered])


class TalkLayout(Layout):
    """The types of a file's conversations, as its sound lines show them; of boxes in a frame that needs no sizes."""

    def __init__(self, how: How) -> None:
        super().__init__(how, "bins")
        self.limit = LIMITS[how.frame]
        self.spelled: tuple[Any, str] | None = None
        self.pictures = ""

    def learn(self, record: Any) -> None:
        talk: Talk = record
        value = talk.value
        listed = [k for k in LISTED if k in value]
        pictures = [k for k in PICTURES if k in value]
        if self.turns >= LEARNED or len(listed) != 1 or len(pictures) > 1 or NOT_HERE & value.keys():
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
        self.top.see(value)
        for turn in turns:
            self.inner.see(turn)
        shape = (self.top.shape, self.inner.shape)
        if shape != self.shape:
            self.shape, self.turns = shape, self.turns + 1
            self._make()

    def _make(self) -> None:
        assert self.spelled is not None
        (role, content), listed = self.spelled
        turn, self.inner_optional, self.inner_holding = struct_of("Turn", self.inner.fields({role: Role, content: str}))
        names = {k: n for n, k in turn.__struct_names__}
        self.role, self.content = attrgetter(names[role]), attrgetter(names[content])
        types = {"images": list[Text], "image": Text | list[Text], listed: list[turn]}  # type: ignore[valid-type]
        record, self.top_optional, self.top_holding = struct_of("Record", self.top.fields(types))
        self.items = attrgetter(listed)
        self.top_keys = len(self.top.times) - len(self.top_optional)
        self.inner_keys = len(self.inner.times) - len(self.inner_optional)
        self.decoder = msgspec.json.Decoder(record)

    def sound(self, text: bytes, records: Sequence[Any]) -> Counts | None:
        boxes = points = turns = 0
        for record in records:
            found = self._answers(record)
            if found is None:
                return None
            boxes, points = boxes + found[0], points + found[1]
            turns += len(self.items(record))
        if not each_key_once(text, self._keys(records, turns)):
            return None
        return Counts(len(records), 4 * boxes + 2 * points, boxes, 0)

    def _answers(self, record: Any) -> tuple[int, int] | None:
        """How many boxes and points the answers of a record have, if all about it is sound."""
        marks = boxes = points = 0
        last = ""
        for turn in self.items(record):
            content = self.content(turn)
            marks += content.count("<image>")
            if "<video>" in content or "<audio>" in content:
                return None
            if self.role(turn) in ASSISTANT:
                last = content
                found = self._answered(content)
                if found is None:
                    return None
                boxes, points = boxes + found[0], points + found[1]
        given = getattr(record, self.pictures, UNSET) if self.pictures else UNSET
        files = given if isinstance(given, list) else [] if given is UNSET else [given]
        if not last.strip() or (marks and marks != len(files)) or any(map(str.isspace, files)):
            return None
        return boxes, points

    def _answered(self, content: str) -> tuple[int, int] | None:
        """How many boxes and points an answer spells, each in order and in the frame; None where that is not clear."""
        if not any(word in content for word in ("bbox", "point_2d", "box_start")):
            return 0, 0
        try:
            found = _ANSWER.decode(content)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return None
        most, boxes = self.limit, 0
        for item in found:
            if item.bbox_2d is UNSET:
                if item.point_2d is UNSET or not (min(item.point_2d) >= 0 and max(item.point_2d) <= most):
                    return None
                continue
            boxes += 1
            x1, y1, x2, y2 = item.bbox_2d
            if item.point_2d is not UNSET or not (0 <= x1 <= x2 <= most and 0 <= y1 <= y2 <= most):
                return None
            if most > 1 and x2 <= 1 and y2 <= 1:
                return None
        points = len(found) - boxes
        words = ("bbox", '"bbox_2d"', "point_2d", "box_start")
        return (boxes, points) if tuple(map(content.count, words)) == (boxes, boxes, points, 0) else None
