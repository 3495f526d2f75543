"""Bugs that a data set or a log shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from coordexp_audit_lib.boundaries.geometry.artifact import How, audit_file
from coordexp_audit_lib.boundaries.metrics.artifact.run import audit_log
from tests.silent_bugs.pairs import Pair, Told, told

WIDTH, HEIGHT = 640, 480
BOXES = [[66, 51, 523, 411], [12, 200, 130, 470], [500, 20, 630, 90]]
Rows = list[dict[str, Any]]
Box = list[Any]


def written(folder: Path, rows: Rows, name: str) -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def swift(box: Box, **more: Any) -> dict[str, Any]:
    """A grounding record of ms-swift, in pixels of the image."""
    turns = [("user", "<image>Find the <ref-object>."), ("assistant", "<bbox>")]
    return {
        "messages": [{"role": role, "content": text} for role, text in turns],
        "images": ["a/0.jpg"],
        "objects": {"ref": ["cup"], "bbox": [box]},
        **{"width": WIDTH, "height": HEIGHT, **more},
    }


def qwen(box: Box, answer: str = "", **more: Any) -> dict[str, Any]:
    """A conversation of Qwen-VL's fine-tuning."""
    said = answer or json.dumps([{"bbox_2d": box, "label": "cup"}])
    turns = [("human", "<image>\nFind every cup."), ("gpt", said)]
    return {"image": "a/0.jpg", "conversations": [{"from": who, "value": v} for who, v in turns], **more}


def records(of: Callable[[Box], dict[str, Any]], wrong: Callable[[Box], Box], right: Callable[[Box], Box]) -> Any:
    def made(broken: bool, folder: Path) -> Path:
        return written(folder, [of((wrong if broken else right)(box)) for box in BOXES], "train.jsonl")

    return made


def same(box: Box) -> Box:
    return box


def width_and_height(box: Box) -> Box:
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]


def axes_exchanged(box: Box) -> Box:
    x1, y1, x2, y2 = box
    return [y1, x1, y2, x2]


def other_multipliers(box: Box) -> Box:
    """Shares of the image are taken times the height along x, and times the width along y."""
    return [v / a * b for v, a, b in zip(box, (WIDTH, HEIGHT) * 2, (HEIGHT, WIDTH) * 2, strict=True)]


def thousandths(box: Box) -> Box:
    return [round(1000 * v / side) for v, side in zip(box, (WIDTH, HEIGHT) * 2, strict=True)]


def large(box: Box) -> Box:
    """Of an image of 2560 by 1920."""
    return [4 * v for v in box]


def placeholder_in_the_answer(broken: bool, folder: Path) -> Path:
    """A page to be parsed has the placeholder's own text in it."""
    text = "# Slides\n![figure](<image>)" if broken else "# Slides\n![figure](a.png)"
    return written(folder, [qwen([], text)], "train.jsonl")


def content(path: Path) -> str:
    return path.read_text()


def data(how: How) -> Callable[[Path], Told]:
    return lambda path: told(audit_file(path, how))


PLAIN = How()
RESIZED = How(frame="resized", max_pixels=1280 * 960)
THOUSANDTHS = How(frame="norm1000")
SAID = How(frame="real")


# logs


def row(step: int, node: int = 0, speed: float = 0.5) -> dict[str, Any]:
    return {"loss": round(3 / step + node / 10, 4), "grad_norm": 0.5, "samples_per_second": speed, "step": step}


def two_nodes(broken: bool, folder: Path) -> Path:
    """The first rank of every node writes."""
    rows = [row(s, 0, 0.5 + n / 10) for s in range(1, 9) for n in range(1 + broken)]
    return written(folder, rows, "metrics.jsonl")


def every_rank(broken: bool, folder: Path) -> Path:
    """Every rank writes its own loss."""
    return written(folder, [row(s, n) for s in range(1, 9) for n in range(1 + 3 * broken)], "20220313.json")


def loss_curve(path: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in path.read_text().splitlines()]


def log(path: Path) -> Told:
    return told(audit_log(path))


told_by_data = partial(Pair, tool="data", shown=content)
told_by_metrics = partial(Pair, tool="metrics", asked=log, shown=loss_curve, claim="metrics.step_once")
RANGE, ORDER, RECORD = "geometry.bins_in_range", "geometry.box_ordered", "geometry.record_contract"
PAIRS = [
    told_by_data(
        "boxes of the large image, where the model sees a resized one",
        "QwenLM/Qwen3-VL#1161",
        claim=RANGE,
        says="box|bbox",
        made=records(partial(qwen, width=2560, height=1920), large, lambda box: [2 * v for v in box]),
        asked=data(RESIZED),
    ),
    told_by_data(
        "pixels where the model counts thousandths",
        "modelscope/ms-swift#2235",
        claim=RANGE,
        says="box|bbox",
        made=records(qwen, large, thousandths),
        asked=data(THOUSANDTHS),
    ),
    told_by_data(
        "width and height where corners belong",
        "aleju/imgaug#220",
        claim=ORDER,
        says="box|bbox",
        made=records(swift, width_and_height, same),
        asked=data(PLAIN),
    ),
    told_by_data(
        "x and y change places",
        "pytorch/vision#1856",
        claim=RANGE,
        says="box|bbox",
        made=records(swift, axes_exchanged, same),
        asked=data(SAID),
    ),
    told_by_data(
        "shares are taken times the other side",
        "keras-team/keras#22806",
        claim=RANGE,
        says="box|bbox",
        made=records(swift, other_multipliers, same),
        asked=data(SAID),
    ),
    told_by_data(
        "an answer holds the picture's placeholder",
        "hiyouga/LlamaFactory#8440",
        claim=RECORD,
        says="image|placeholder",
        made=placeholder_in_the_answer,
        asked=data(PLAIN),
    ),
    told_by_metrics(
        "the first rank of each node writes one log", "instructlab/training#133", says="write one log", made=two_nodes
    ),
    told_by_metrics("every rank writes one log", "open-mmlab/mmengine#124", says="write one log", made=every_rank),
]
