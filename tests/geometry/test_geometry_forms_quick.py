"""What is judged many records at a time is judged as each by itself would be: conversations, ms-swift's grounding, COCO
and arrays, sound and with every kind of fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.geometry.artifact import How, audit_file, judging
from coordexp_audit_lib.boundaries.geometry.artifact.wholes import Cut

boundaries.load(["geometry"])
Boxes = list[list[Any]]
BAD: list[Callable[[Boxes], Boxes]] = [
    lambda b: [[b[0][2], *b[0][1:]], *b],
    lambda b: [[5, 7, 1, 9], *b],
    lambda b: [*b, [1, 2, 3, 100_000]],
    lambda b: [[-1, 2, 3, 4], *b],
    lambda b: [[0.1, 0.2, 0.3, 0.4], *b],
    lambda b: [[1, 2, 3], *b],
    lambda b: [[1, 2, 3.5, 640.25], *b],
    lambda b: [[1, 2, 3, "4"], *b],
    lambda b: [[0, 0, 0, 0], *b],
    lambda b: [],
]


def answer(rng: Random, boxes: Boxes, kind: int) -> str:
    if kind == 0:
        return json.dumps([{"bbox_2d": b, "label": "car"} for b in boxes])
    if kind == 1:
        return "Here: ```json\n" + json.dumps([{"label": 'a "bus"', "bbox": b} for b in boxes], indent=1) + "\n```"
    if kind == 2:
        return "".join(f"<|box_start|>({b[0]},{b[1]}),({b[2]},{b[-1]})<|box_end|>" for b in boxes if len(b) == 4)
    if kind == 3:
        return json.dumps([{"point_2d": b[:2], "label": "x"} for b in boxes])
    return rng.choice(["", " ", "nothing", json.dumps([{"bbox_2d": b, "label": "bbox_2d"} for b in boxes])])


def conversation(rng: Random, boxes: Boxes, bad: bool, sized: bool) -> dict[str, Any]:
    turns = [
        {"from": "human", "value": "<image>" * (2 if bad and rng.random() < 0.2 else 1)},
        {
            "from": "nobody" if bad and rng.random() < 0.2 else "gpt",
            "value": answer(rng, boxes, rng.choice((0, 0, 0, 1, 2, 3, 4))),
        },
    ]
    return {"image": "a.png", "conversations": turns, **({"width": 640, "height": 480} if sized else {})}


def grounded(rng: Random, boxes: Boxes, bad: bool, sized: bool) -> dict[str, Any]:
    marks = "<ref-object><bbox>" * (len(boxes) + (bad and rng.random() < 0.3))
    objects: dict[str, Any] = {
        "ref": ["car"] * len(boxes),
        "bbox": boxes,
        **({} if sized else {"bbox_type": "norm1000"}),
    }
    if sized and rng.random() < 0.9:
        objects |= {"width": 640, "height": 480}
    if bad and rng.random() < 0.3:
        objects |= rng.choice([{"ref": [" "] * len(boxes)}, {"bbox_type": "nothing"}, {"more": 1}, {"bbox": None}])
    said = [{"role": "user", "content": "<image>"}, {"role": "assistant", "content": marks or "none"}]
    return {"messages": said, "images": ["a.png"], "objects": objects}


def lines(rng: Random, make: Any, sized: bool) -> list[str]:
    made = []
    for _ in range(400):
        boxes: Boxes = []
        for _ in range(1 + rng.randrange(4)):
            x, y = sorted(rng.sample(range(640), 2)), sorted(rng.sample(range(480), 2))
            boxes.append([x[0], y[0], x[1], y[1]])
        bad = rng.random() < 0.1
        text = json.dumps(make(rng, rng.choice(BAD)(boxes) if bad else boxes, bad, sized))
        if bad and rng.random() < 0.2:
            text = rng.choice(
                [text[:-9], text[:-1] + ', "image": "b.png"}', text.replace("a.png", "\\ud800"), "[]", '"x"']
            )
        made.append(text)
    return made


def compared(path: Path, how: How, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The findings; each record judged by itself gives the same."""
    together: list[int] = []

    def counted(judge: judging.Judge, counts: Any, number: int, real: Any = judging.Judge._count) -> Any:
        taken = real(judge, counts, number)
        together.append(counts.records if taken else 0)
        return taken

    with monkeypatch.context() as patched:
        patched.setattr(judging.Judge, "_count", counted)
        quick = [msgspec.structs.replace(f, seconds=0.0) for f in audit_file(path, how)]
    assert sum(together) > 100
    with monkeypatch.context() as patched:
        patched.setattr(judging, "_known", lambda columns: False)
        slow = [msgspec.structs.replace(f, seconds=0.0) for f in audit_file(path, how)]
    assert quick == slow
    return quick


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("make", [conversation, grounded])
@pytest.mark.parametrize("frame", ["", "real", "norm1000", "resized"])
def test_lines_many_at_a_time(
    make: Any, sized: bool, frame: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines(Random(len(frame)), make, sized)))
    found = compared(path, How(frame=frame, images="none", max_pixels=500_000), monkeypatch)
    assert max(f.violation_count for f in found) > 5


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("make", [conversation, grounded])
def test_arrays_many_at_a_time(make: Any, indent: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = [t for t in lines(Random(1), make, True) if "ud800" not in t and t[0] == "{" and t[-1] == "}"]
    path = tmp_path / "a.json"
    path.write_text("[" + ",\n ".join(json.dumps(json.loads(t), indent=indent) for t in sound if is_json(t)) + "]")
    found = compared(path, How(images="none"), monkeypatch)
    assert max(f.violation_count for f in found) > 5 and max(f.checked for f in found) > 300


def is_json(text: str) -> bool:
    try:
        return bool(json.loads(text))
    except ValueError:
        return False


@pytest.mark.parametrize("bad", [False, True])
def test_coco_many_images_at_a_time(bad: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = Random(2)
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480, "license": 1} for i in range(700)]
    notes: list[dict[str, Any]] = []
    for i in range(2000):
        box = [rng.randrange(300), rng.randrange(200), 1 + rng.randrange(300), 1.5 + rng.randrange(200)]
        image = rng.randrange(700)
        if bad and image < 250 and rng.random() < 0.1:
            box = rng.choice([[1, 2, 0, 5], [1, 2, 3, -4], [600, 2, 100, 5], [0.1, 0.1, 0.2, 0.2]])
        notes.append({"id": i, "image_id": image, "category_id": 1 + (bad and image == 9), "bbox": box, "area": 1})
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"images": images, "annotations": notes, "categories": [{"id": 1, "name": "car"}]}))
    found = compared(path, How(images="none"), monkeypatch)
    assert (max(f.violation_count for f in found) > 5) is bad and max(f.checked for f in found) == 8000


@pytest.mark.parametrize("size", [1, 2, 7, 50])
def test_an_array_is_cut_alike_however_it_is_read(size: int) -> None:
    text = rb' {"a":[1,{"b":"x\\"}],"c":"\"]},{"} , {"a":2},3 ,"y\"" ,[],, {"a": "\\\\"}]'

    def cut(step: int) -> list[Any]:
        made, one = [], Cut(0)
        for at in range(0, len(text) + 1, step):
            for block in one.feed((b"[" if not at else b"") + text[at : at + step]):
                made += block.pack.made() if block.pack else [block]
        assert one.ended
        return [(b.number, b.offset, b.text, bool(b.broken)) for b in made]

    whole = cut(len(text) + 1)
    assert cut(size) == whole and len(whole) == 7 and [t for _, _, t, bad in whole if bad] == [b""]
    assert all((b"[" + text)[at : at + len(t)] == t for _, at, t, _ in whole)
