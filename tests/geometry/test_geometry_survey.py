"""The page about a dataset: what it counts is what is in the file, of whatever form; and it draws what is odd, too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.geometry.artifact import How
from coordexp_audit_lib.kit import tokenizer
from coordexp_audit_lib.kit.boxes import tokens
from coordexp_audit_lib.run import dataset, dataset_figures
from coordexp_audit_lib.run.session import ViolationsFound

boundaries.load(["geometry"])
LEFT = [0.0, 0.0, 0.5, 1.0]  # the left half of an image of 640 x 320, as shares
TALK = [{"role": "user", "content": "<image>a"}, {"role": "assistant", "content": ""}]
SIZE = {"width": 640, "height": 320}


def lines(*records: Any) -> str:
    return "".join(json.dumps(r) + "\n" for r in records)


def of_objects(box: list[Any]) -> dict[str, Any]:
    return {"images": ["a.png"], "objects": [{"desc": "cup", "bbox_2d": box}], **SIZE}


ANSWER = json.dumps([{"bbox_2d": [0, 0, 500, 1000], "label": "cup"}])
COCO = {
    "images": [{"id": 1, "file_name": "a.png", **SIZE}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 320, 320]}],
    "categories": [{"id": 1, "name": "cup"}],
}
FORMS: dict[str, tuple[str, How]] = {
    "tokens": (lines(of_objects(tokens([0, 0, 499, 999]))), How()),
    "pixels": (lines(of_objects([0.0, 0.0, 320.0, 320.0])), How(frame="real")),
    "ms-swift": (
        lines({"messages": TALK, "images": ["a.png"], "objects": {"ref": ["cup"], "bbox": [[0, 0, 320, 320]]}, **SIZE}),
        How(),
    ),
    "Qwen": (
        lines({"messages": [TALK[0], {"role": "assistant", "content": ANSWER}], "images": ["a.png"], **SIZE}),
        How(frame="norm1000"),
    ),
    "COCO": (json.dumps(COCO), How()),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_left_half_of_an_image_is_told_in_every_form(form: str, tmp_path: Path) -> None:
    text, how = FORMS[form]
    (tmp_path / "f").write_text(text)
    s = dataset.surveyed(tmp_path / "f", how)
    assert (s.records, s.left_out, s.boxes, dict(s.names)) == (1, 0, 1, {"cup": 1})
    assert s.sizes == {(640, 320): 1} and s.objects == {1: 1}
    assert int(s.areas[-1]) == 1, "half of the image is between a third and all of it"
    half = dataset.CELLS // 2
    assert s.coverage[:, : half - 1].min() == 1 and s.coverage[:, half + 1 :].max() == 0
    assert len(s.lengths) == (form != "COCO")


def test_a_length_is_what_the_tokenizer_makes_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "f").write_text(FORMS["Qwen"][0])
    (length,) = dataset.surveyed(tmp_path / "f", How(frame="norm1000")).lengths
    image = 2 + (640 // 32) * (320 // 32)
    turns = ("<|im_start|>user\n", "a", "<|im_end|>\n", "<|im_start|>assistant\n", ANSWER, "<|im_end|>\n")
    assert length == image + sum(len(tokenizer.encode(t)) for t in turns)


def test_packs_are_as_full_as_the_lengths_allow() -> None:
    assert dataset.packs([60, 40, 50, 50, 101], 100) == (2, 1.0, 1)
    assert dataset.packs([], 100) == (0, 0.0, 0)


@pytest.mark.parametrize("text", ["", "{\n", lines(7, of_objects(["x"]), {"images": [], "objects": [], **SIZE})])
def test_a_page_is_drawn_of_what_is_odd(text: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text(text)
    s = dataset.surveyed(tmp_path / "f", How())
    for draw in (dataset_figures.draw_sizes, dataset_figures.draw_places, dataset_figures.draw_names):
        plt.close(draw(s))
    plt.close(dataset_figures.draw_lengths(s, 100))
    for table in (dataset_figures.numbers, dataset_figures.sizes, dataset_figures.places, dataset_figures.names):
        assert list(table(s).columns)
    assert list(dataset_figures.lengths(s, 100).columns)
    assert np.isfinite(s.coverage).all()


def test_a_page_fails_where_a_claim_does(tmp_path: Path) -> None:
    (tmp_path / "f").write_text(lines(of_objects([9, 0, 3, 4])))
    found = dataset.judged(tmp_path / "f", How())
    dataset.stop(found, "never")
    with pytest.raises(ViolationsFound, match=r"geometry\.box_ordered"):
        dataset.stop(found, "P1")
