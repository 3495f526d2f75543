"""What a record of another form must be: conversations with pictures and boxes, as people's tools write them.

Forms: `ms-swift` (`messages`, `images`, `objects: {ref, bbox, bbox_type}`), `conversations` (Qwen, LLaMA-Factory:
`conversations` or `messages`, boxes as JSON in the answers), `coco` (an image with its annotations).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple

import msgspec

from coordexp_audit_lib.boundaries.geometry.predicates.records import LONGEST_SIDE
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem

Form = Literal["objects", "ms-swift", "conversations", "coco"]
FORMS: tuple[Form, ...] = ("objects", "ms-swift", "conversations", "coco")
TITLES: dict[str, str] = {
    "objects": "records of objects (desc and one geometry each, coordinates as bins)",
    "ms-swift": "ms-swift grounding records (messages, images, objects with ref and bbox)",
    "conversations": "conversations with images (Qwen-VL, LLaMA-Factory), boxes as JSON in the answers",
    "coco": "COCO's images with their annotations",
}
ASSISTANT = ("assistant", "gpt", "model", "bot", "function_call", "tool_call")
OTHERS = ("user", "human", "tool", "observation", "tool_response", "function", "developer", "system")
ANSWERS = {"chosen", "rejected", "rejected_response", "solution", "answer", "ground_truth", "reward_model", "label"}
"""Keys beside the turns that hold what a preference or reward is computed from: the turns need no answer then."""
PAIRS = (("query", "response"), ("instruction", "output"))  # of question and answer, as ms-swift reads them, too
MEDIA = {"<image>": ("images", "image"), "<video>": ("videos", "video"), "<audio>": ("audios", "audio")}
SOURCES = ("image", "image_url", "video", "video_url", "audio", "audio_url", "url", "path", "base64")
BOX = 4
_NUMBER = r"-?[\d.]+(?:[eE][+-]?\d+)?"
_BOXES = re.compile(
    r"[\"'](bbox_2d|bbox|point_2d)[\"']\s*:\s*"
    r"(?:\[\s*(" + _NUMBER + r"(?:\s*,\s*" + _NUMBER + r")*)\s*\]|(\[\s*\[[^\[\]]*\](?:\s*,\s*\[[^\[\]]*\])*\s*\]))?"
    r"|<\|box_start\|>(?:\((\d+),\s*(\d+)\),\s*\((\d+),\s*(\d+)\)<\|box_end\|>)?"
)
_ARITY = {"bbox_2d": 4, "bbox": 4, "point_2d": 2, "box": 4}


def form_of(value: Any) -> Form | None:
    """The form of a record; None for what is none of them."""
    if not isinstance(value, Mapping):
        return None
    talk = isinstance(value.get("messages"), list) or isinstance(value.get("conversations"), list)
    talk = talk or any(value.keys() >= set(pair) for pair in PAIRS)
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


def listed_turns(value: Mapping[str, Any]) -> list[Any]:
    """A record's turns as they stand there; of a record that has a question and an answer under keys of their own,
    these two."""
    listed = value.get("messages", value.get("conversations"))
    if isinstance(listed, list):
        return listed
    for asked, answer in PAIRS:
        if asked in value and answer in value:
            more = [value[k] for k in ("input",) if value.get(k)]
            question = "\n".join(map(str, (value[asked], *more)))
            return [{"role": "user", "content": question}, {"role": "assistant", "content": value[answer]}]
    return []


class Box(NamedTuple):
    """Numbers x, y, x, y in a frame, and where in the record they stand. image: which of the images it lies in; None
    where that is not said. key: how it is spelled."""

    path: str
    values: list[Any]
    frame: str
    image: int | None = 0
    key: str = "bbox"


class Talk(msgspec.Struct, frozen=True, dict=True):
    """A record of one of these forms. value: anything that JSON can hold.

    frame: of boxes that do not say their own, of `frames.FRAMES`; "" where it is not known. sizes: width and height of
    each image's file, where they were looked at. resize: factor, least and most pixels of the run's resizing.
    """

    value: Any
    form: str
    frame: str = ""
    sizes: tuple[tuple[int, int], ...] = ()
    resize: tuple[int, int, int] = (0, 0, 0)

    @cached_property
    def is_one(self) -> bool:
        """Whether the record is of the form that it is taken for."""
        return isinstance(self.value, Mapping) and form_of(self.value) == self.form

    @cached_property
    def turns(self) -> list[tuple[str, str]]:
        """(role, text) of each turn that is one; parts of a turn that are no text are named in it."""
        found = []
        for turn in listed_turns(self.value):
            if isinstance(turn, Mapping):
                role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
                found.append((str(role), _text(content)))
        return found

    @cached_property
    def boxes(self) -> list[Box]:
        """Every box of the record, from its objects, its annotations, or the answers' text."""
        if self.form == "ms-swift":
            return self._of_objects(self.value["objects"])
        if self.form == "coco":
            found = []
            for i, a in enumerate(self.value["annotations"]):
                b = a.get("bbox") if isinstance(a, Mapping) else None
                if isinstance(b, list) and len(b) == BOX and all(map(is_number, b)):
                    found.append(Box(f"annotations[{i}].bbox", [b[0], b[1], b[0] + b[2], b[1] + b[3]], "real"))
            return found
        return [b for b in self.written if b.values]

    def _of_objects(self, objects: Mapping[str, Any]) -> list[Box]:
        given, frame, at = objects.get("bbox"), str(objects.get("bbox_type") or "real"), objects.get("image_id")
        images = at if isinstance(at, list) else []
        listed = given if isinstance(given, list) else []
        return [
            Box(f"objects.bbox[{i}]", b, frame, images[i] if i < len(images) and isinstance(images[i], int) else 0)
            for i, b in enumerate(listed)
            if isinstance(b, list)
        ]

    @cached_property
    def written(self) -> list[Box]:
        """What the answers' texts spell as boxes or points; without values where it is no list of numbers."""
        found = []
        for i, (role, text) in enumerate(self.turns):
            if role in ASSISTANT and ("bbox" in text or "point_2d" in text or "<|box_start|>" in text):
                for n, match in enumerate(_BOXES.finditer(text)):
                    path = f"turn {i}, box {n}"
                    if match[1]:
                        lists = re.findall(r"\[([^\[\]]*)\]", match[3]) if match[3] else [match[2]]
                        found += [Box(path, _numbers(text), self.frame, None, match[1]) for text in lists]
                    else:
                        values = [float(x) for x in match.groups()[3:]] if match[4] else []
                        found.append(Box(path, values, "norm1000", None, "box"))
        return found


def _numbers(text: str | None) -> list[Any]:
    try:
        return [float(x) for x in (text or "").split(",") if x]
    except ValueError:
        return []


def _text(content: Any) -> str:
    """A turn's text; a picture in it that brings its own source needs none of the record's."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(
        str(p.get("text", "")) if p.get("type") == "text" else f"<{p.get('type')}>"
        for p in parts
        if isinstance(p, dict) and not any(p.get(key) for key in SOURCES)
    )


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, and no boolean."""
    return type(value) in (int, float) and -math.inf < value < math.inf


def contract(talk: Talk, ledger: Ledger) -> Iterator[Problem]:
    """Turns with an answer; as many placeholders as images, refs and boxes; boxes of numbers. Judged: the record."""
    ledger.judged()
    if not isinstance(talk.value, Mapping):
        yield Problem("a record is a JSON object", "", "object", type(talk.value).__name__)
    elif not talk.is_one:
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
        else:
            yield from _written(talk)


def _turns(talk: Talk) -> Iterator[Problem]:
    listed = listed_turns(talk.value)
    if len(talk.turns) != len(listed):
        yield Problem("a turn is an object with a role and a text", "", len(listed), len(talk.turns))
    for i, (role, _) in enumerate(talk.turns):
        if role not in (*ASSISTANT, *OTHERS):
            yield Problem("a turn's role is none that templates know", f"turn {i}", "user, assistant, system", role)
    answers = [text for role, text in talk.turns if role in ASSISTANT]
    if not answers and not ANSWERS & talk.value.keys():
        yield Problem("no turn is the assistant's, so nothing is supervised", "", "an answer", "none")
    elif answers and not answers[-1].strip():
        yield Problem("the last answer is blank", "", "a text", "blank")


def _media(talk: Talk) -> Iterator[Problem]:
    """Placeholders of a kind are as many as its files; where there is none, tools put them in front by themselves."""
    for mark, keys in MEDIA.items():
        marks = sum(text.count(mark) for _, text in talk.turns)
        given = next((talk.value[k] for k in keys if k in talk.value), None)
        files = given if isinstance(given, list) else [] if given is None else [given]
        if marks and marks != len(files):
            what, whose = f"the number of {mark} is not the number of {keys[0]}", None
            if talk.form == "ms-swift" and marks < len(files):  # `_add_default_tags` puts those that lack in front
                what, whose = f"{what}: ms-swift puts the rest in front", "practice"
            yield Problem(what, keys[0], marks, len(files), authority=whose)  # type: ignore[arg-type]
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
    if kind not in (None, "real", "norm1", "norm1000"):
        yield Problem(
            "objects.bbox_type is none that ms-swift knows", "objects.bbox_type", "real, norm1, norm1000", kind
        )
    for i, b in enumerate(objects["bbox"] if isinstance(objects.get("bbox"), list) else ()):
        if not isinstance(b, list) or len(b) < 2 or len(b) % 2 or not all(map(is_number, b)):
            yield Problem("a box is a list of an even number of numbers", f"objects.bbox[{i}]", "numbers", b)

    refs = objects.get("ref")
    for i, ref in enumerate(refs if isinstance(refs, list) else ()):
        if not isinstance(ref, str) or not ref.strip():
            shown = "blank" if isinstance(ref, str) else type(ref).__name__
            yield Problem("a ref is a text that is not blank", f"objects.ref[{i}]", "a text", shown)
    yield from _images_of_boxes(talk, objects)


def _images_of_boxes(talk: Talk, objects: Mapping[str, Any]) -> Iterator[Problem]:
    """Each box lies in an image that is there."""
    images = talk.value.get("images", talk.value.get("image"))
    count = len(images) if isinstance(images, list) else 1
    for box in talk.boxes:
        if images is not None and box.image is not None and not 0 <= box.image < max(count, 1):
            yield Problem("a box lies in an image that is not there", box.path, f"0 to {count - 1}", box.image)


def _written(talk: Talk) -> Iterator[Problem]:
    """What an answer spells as a box is one, of as many numbers as its key says."""
    for box in talk.written:
        if len(box.values) != _ARITY[box.key]:
            actual = len(box.values) or "no list of numbers"
            yield Problem(f"a {box.key} of an answer has {_ARITY[box.key]} numbers", box.path, _ARITY[box.key], actual)


def _is_flat(box: Sequence[Any]) -> bool:
    """Whether x, y, width, height are of no area; one that is negative is another claim's."""
    return 0 in box[2:] and min(box[2:]) >= 0


def _annotations(value: Mapping[str, Any]) -> Iterator[Problem]:
    if value.get("twice"):
        yield Problem("two images have one id", "id", "one image an id", value.get("id"))
    if value.get("no_such_image"):
        yield Problem("annotations name an image that is not there", "image_id", "an image's id", value.get("id"))
        return
    for key in ("width", "height"):
        if not is_number(value.get(key)) or isinstance(value[key], float) or not 0 < value[key] <= LONGEST_SIDE:
            yield Problem(f"{key} is a positive integer", key, "positive int", value.get(key))
    if not isinstance(value.get("file_name"), str):
        yield Problem("an image has a file_name", "file_name", "a path", value.get("file_name"))
    for i, a in enumerate(value["annotations"]):
        box = a.get("bbox") if isinstance(a, Mapping) else None
        if not isinstance(box, list) or len(box) != BOX or not all(map(is_number, box)):
            yield Problem("a bbox is x, y, width and height", f"annotations[{i}].bbox", "4 numbers", box)
        elif _is_flat(box):
            yield Problem("a bbox has a width and a height", f"annotations[{i}].bbox", "> 0", box, severity="P2")
        elif a.get("category") is None:
            yield Problem(
                "an annotation's category is not listed", f"annotations[{i}]", "a category", a.get("category_id")
            )
