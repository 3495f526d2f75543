"""What a record of another form must be: conversations with pictures and boxes, as people's tools write them.

Forms: `ms-swift` (`messages`, `images`, `objects: {ref, bbox, bbox_type}`), `conversations` (Qwen, LLaMA-Factory:
`conversations` or `messages`, boxes as JSON in the answers), `coco` (an image with its annotations).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Literal, NamedTuple

import msgspec

from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.boxes import is_ordered

Form = Literal["objects", "ms-swift", "conversations", "coco"]
FORMS: tuple[Form, ...] = ("objects", "ms-swift", "conversations", "coco")
TITLES: dict[str, str] = {
    "objects": "records of objects (desc and one geometry each, coordinates as bins)",
    "ms-swift": "ms-swift grounding records (messages, images, objects with ref and bbox)",
    "conversations": "conversations with images (Qwen-VL, LLaMA-Factory), boxes as JSON in the answers",
    "coco": "COCO's images with their annotations",
}
Frame = Literal["real", "norm1", "norm1000"]
LIMITS: dict[str, float] = {"norm1": 1.0, "norm1000": 1000.0}
ASSISTANT, USER = ("assistant", "gpt", "model", "function_call"), ("user", "human", "tool", "observation")
MEDIA = {"<image>": ("images", "image"), "<video>": ("videos", "video"), "<audio>": ("audios", "audio")}
BOX = 4
_NUMBERS = r"\[\s*(-?[\d.]+(?:[eE][+-]?\d+)?(?:\s*,\s*-?[\d.]+(?:[eE][+-]?\d+)?)*)\s*\]"
_BOXES = re.compile(r"[\"'](bbox_2d|bbox)[\"']\s*:\s*" + _NUMBERS)


def form_of(value: Any) -> Form | None:
    """The form of a record; None for what is none of them."""
    if not isinstance(value, Mapping):
        return None
    talk = isinstance(value.get("messages"), list) or isinstance(value.get("conversations"), list)
    objects = value.get("objects")
    if isinstance(objects, list):
        return "objects"
    if talk and isinstance(objects, Mapping):
        return "ms-swift"
    if talk:
        return "conversations"
    if isinstance(value.get("annotations"), list):
        return "coco"
    return "objects" if {"images", "width", "height"} & value.keys() else None


class Box(NamedTuple):
    """Four numbers that are x1, y1, x2, y2 in a frame, and where in the record they stand."""

    path: str
    values: list[Any]
    frame: str


class Talk(msgspec.Struct, frozen=True, dict=True):
    """A record of one of these forms. value: anything that JSON can hold. frame: of boxes that do not say their own:
    `real` pixels of the image, `norm1`, `norm1000`; "" where it is not known."""

    value: Any
    form: str
    frame: str = ""

    @cached_property
    def turns(self) -> list[tuple[str, str]]:
        """(role, text) of each turn that is one; parts of a turn that are no text are named in it."""
        listed = self.value.get("messages", self.value.get("conversations"))
        found = []
        for turn in listed if isinstance(listed, list) else ():
            if isinstance(turn, Mapping):
                role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
                found.append((str(role), _text(content)))
        return found

    @cached_property
    def boxes(self) -> list[Box]:
        """Every box of the record, from its objects, its annotations, or the answers' text."""
        if self.form == "ms-swift":
            objects = self.value["objects"]
            given, frame = objects.get("bbox"), str(objects.get("bbox_type") or "real")
            listed = given if isinstance(given, list) else []
            return [Box(f"objects.bbox[{i}]", b, frame) for i, b in enumerate(listed) if isinstance(b, list)]
        if self.form == "coco":
            found = []
            for i, a in enumerate(self.value["annotations"]):
                b = a.get("bbox") if isinstance(a, Mapping) else None
                if isinstance(b, list) and len(b) == BOX and all(map(_is_number, b)):
                    found.append(Box(f"annotations[{i}].bbox", [b[0], b[1], b[0] + b[2], b[1] + b[3]], "real"))
            return found
        texts = [(i, text) for i, (role, text) in enumerate(self.turns) if role in ASSISTANT]
        return [
            Box(f"turn {i}, box {n}", [float(x) for x in match[2].split(",")], self.frame)
            for i, text in texts
            for n, match in enumerate(_BOXES.finditer(text))
        ]


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(
        str(p.get("text", "")) if p.get("type") == "text" else f"<{p.get('type')}>"
        for p in parts
        if isinstance(p, dict)
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def contract(talk: Talk, ledger: Ledger) -> Iterator[Problem]:
    """Turns with an answer; as many placeholders as images, refs and boxes; boxes of numbers. Judged: the record."""
    ledger.judged()
    if not isinstance(talk.value, Mapping):
        yield Problem("a record is a JSON object", "", "object", type(talk.value).__name__)
    elif form_of(talk.value) != talk.form:
        yield Problem(
            f"the record is not of the file's form, {talk.form}", "", talk.form, form_of(talk.value) or "none"
        )
    elif talk.form == "coco":
        yield from _annotations(talk.value)
    else:
        yield from _turns(talk)
        yield from _media(talk)
        if talk.form == "ms-swift":
            yield from _placeholders(talk)


def _turns(talk: Talk) -> Iterator[Problem]:
    listed = talk.value.get("messages", talk.value.get("conversations"))
    if len(talk.turns) != len(listed):
        yield Problem("a turn is an object with a role and a text", "", len(listed), len(talk.turns))
    for i, (role, _) in enumerate(talk.turns):
        if role not in (*ASSISTANT, *USER, "system"):
            yield Problem("a turn's role is none that templates know", f"turn {i}", "user, assistant, system", role)
    answers = [text for role, text in talk.turns if role in ASSISTANT]
    if not answers:
        yield Problem("no turn is the assistant's, so nothing is supervised", "", "an answer", "none")
    elif not answers[-1].strip():
        yield Problem("the last answer is blank", "", "a text", "blank")


def _media(talk: Talk) -> Iterator[Problem]:
    """Placeholders of a kind are as many as its files; where there is none, tools put them in front by themselves."""
    for mark, keys in MEDIA.items():
        marks = sum(text.count(mark) for _, text in talk.turns)
        given = next((talk.value[k] for k in keys if k in talk.value), None)
        files = given if isinstance(given, list) else [] if given is None else [given]
        if marks and marks != len(files):
            yield Problem(f"the number of {mark} is not the number of {keys[0]}", keys[0], marks, len(files))
        for i, file in enumerate(files):
            path = file.get("path", file.get("bytes")) if isinstance(file, Mapping) else file
            if not isinstance(path, str) or not path.strip():
                yield Problem(f"one of {keys[0]} is no path", f"{keys[0]}[{i}]", "a path", type(file).__name__)


def _placeholders(talk: Talk) -> Iterator[Problem]:
    objects = talk.value["objects"]
    for mark, key in (("<ref-object>", "ref"), ("<bbox>", "bbox")):
        marks = sum(text.count(mark) for _, text in talk.turns)
        given = objects.get(key)
        if given is not None and not isinstance(given, list):
            yield Problem(f"objects.{key} is a list", f"objects.{key}", "list", type(given).__name__)
        elif marks != len(given or ()):
            yield Problem(
                f"the number of {mark} is not that of objects.{key}", f"objects.{key}", marks, len(given or ())
            )
    kind = objects.get("bbox_type")
    if kind not in (None, "real", *LIMITS):
        yield Problem(
            "objects.bbox_type is none that ms-swift knows", "objects.bbox_type", "real, norm1, norm1000", kind
        )
    for i, b in enumerate(objects["bbox"] if isinstance(objects.get("bbox"), list) else ()):
        if not isinstance(b, list) or len(b) < 2 or len(b) % 2 or not all(map(_is_number, b)):
            yield Problem("a box is a list of an even number of numbers", f"objects.bbox[{i}]", "numbers", b)


def _annotations(value: Mapping[str, Any]) -> Iterator[Problem]:
    if value.get("no_such_image"):
        yield Problem("annotations name an image that is not there", "image_id", "an image's id", value.get("id"))
        return
    for key in ("width", "height"):
        if not isinstance(value.get(key), int) or value[key] <= 0:
            yield Problem(f"{key} is a positive integer", key, "positive int", value.get(key))
    if not isinstance(value.get("file_name"), str):
        yield Problem("an image has a file_name", "file_name", "a path", value.get("file_name"))
    for i, a in enumerate(value["annotations"]):
        box = a.get("bbox") if isinstance(a, Mapping) else None
        if not isinstance(box, list) or len(box) != BOX or not all(map(_is_number, box)):
            yield Problem("a bbox is x, y, width and height", f"annotations[{i}].bbox", "4 numbers", box)
        elif a.get("category") is None:
            yield Problem(
                "an annotation's category is not listed", f"annotations[{i}]", "a category", a.get("category_id")
            )


def in_frame(talk: Talk, ledger: Ledger) -> Iterator[Problem]:
    """Coordinates lie in their frame. Judged: coordinates."""
    if not isinstance(talk.value, Mapping) or form_of(talk.value) != talk.form:
        ledger.left_out("boxes", "the record is of another form")
        return
    for box in talk.boxes:
        if not all(map(_is_number, box.values)):
            ledger.left_out(box.path, "it holds what is no number")
            continue
        most = [LIMITS[box.frame]] * len(box.values) if box.frame in LIMITS else _size(talk, len(box.values))
        if not box.frame or most is None:
            ledger.left_out("coordinates", "needs the image's size" if box.frame else "needs the frame (--frame)")
            return
        ledger.judged(len(box.values))
        for i, (number, limit) in enumerate(zip(box.values, most, strict=True)):
            if not 0 <= number <= limit:
                demanded = f"0 to {limit:g} ({box.frame})"
                yield Problem("a coordinate lies outside its frame", f"{box.path}[{i}]", demanded, number)


def _size(talk: Talk, count: int) -> list[float] | None:
    """The image's width and height in turn, where the record states them."""
    sizes = [talk.value.get(k) for k in ("width", "height")]
    if not all(isinstance(s, int) and s > 0 for s in sizes):
        return None
    return [float(str(sizes[i % 2])) for i in range(count)]


def ordered(talk: Talk, ledger: Ledger) -> Iterator[Problem]:
    """Boxes have x1 <= x2 and y1 <= y2. Judged: boxes of four coordinates."""
    if not isinstance(talk.value, Mapping) or form_of(talk.value) != talk.form:
        ledger.left_out("boxes", "the record is of another form")
        return
    for box in talk.boxes:
        if len(box.values) != BOX or not all(map(_is_number, box.values)):
            continue
        ledger.judged()
        if not is_ordered(box.values):
            yield Problem("a box has x1 <= x2 and y1 <= y2", box.path, "x1 <= x2, y1 <= y2", box.values)
