"""The figures' data say what was answered, and they draw without a warning."""

from __future__ import annotations

from typing import Any

import matplotlib
import pytest

from coordexp_audit_lib.boundaries.template import figures
from coordexp_audit_lib.boundaries.template.figures.parting import draw_parting, parting
from coordexp_audit_lib.core.claim import Context
from coordexp_audit_lib.core.fault import Fault, faults
from coordexp_audit_lib.targets.reference import Memory, ReferenceTarget

matplotlib.use("Agg")
MEMORY: Memory = {}
STAGE1 = "configs/stage1/ablation/geometry_first_coco80.yaml"


def context(fault: str = "") -> Context:
    broken: Fault | None = next((f for f in faults() if f.id == fault), None)
    assert (broken is None) == (not fault)
    return Context(ReferenceTarget(broken, MEMORY), STAGE1, 0, "figures")


def drawn(figure: Any) -> bool:
    figure.savefig("/dev/null", format="png")
    return bool(figure.axes)


def test_the_conversation_reads_as_it_was_rendered() -> None:
    data = figures.conversation(context())
    text = "".join(data["pieces"])
    assert text.startswith("<|im_start|>system\nLocate.<|im_end|>\n<|im_start|>user\n<|vision_start|>")
    assert text.endswith("<|coord_12|>, <|coord_34|>, <|coord_256|>, <|coord_480|>]}]}<|im_end|>\n")
    assert data["roles"].count(2) == data["grid"][0][1] * data["grid"][0][2] // 4 == 4
    assert data["roles"].count(4) == 4
    markup = [p for p, r in zip(data["pieces"], data["roles"], strict=True) if r == 0]
    assert markup.count("<|im_start|>") == 3 and markup.count("assistant") == markup.count("system") == 1
    boxes = figures.laid_out(data["pieces"], data["ids"])
    assert len(boxes) == len(data["ids"]) and all(x + w <= figures.LINE for x, w, _ in boxes)
    assert drawn(figures.draw_conversation(data))


def test_masks_count_what_is_supervised() -> None:
    data = figures.masks(context())
    for record in data["records"]:
        assert record["supervised"] == sum(record["flags"]) == record["to"] - record["from"] + 1
        assert record["image pads"] == record["roles"].count(2) > 0
    assert [(a, b) for a, b, v in figures.runs([0, 0, 1, 1, 1, 0]) if v] == [(2, 5)]
    assert drawn(figures.draw_masks(data))


@pytest.mark.parametrize(("fault", "parted"), [("", 0), ("template.server_prompt_default", 6)])
def test_prompts_that_part_are_drawn_apart(fault: str, parted: int) -> None:
    data = figures.shown_prompts(context(fault))
    assert len(data["rows"]) == 16
    assert sum(r["shared"] < r["teacher-forced"] for r in data["rows"]) == parted
    assert drawn(figures.draw_prompts(data))


@pytest.mark.parametrize(("fault", "parted"), [("", 0), ("template.server_prompt_default", 6)])
def test_where_prompts_part_is_shown_token_by_token(fault: str, parted: int) -> None:
    data = parting(context(fault))
    assert data["compared"] == 16 and sum(len(p["pairs"]) for p in data["partings"]) == parted
    for p in data["partings"]:
        before = p["at"] - p["first"]
        assert p["generated"][:before] == p["forced"][:before]
        assert p["generated"][before:] != p["forced"][before:]
    made = draw_parting(data)
    assert drawn(made) and str(parted or "none") in made.told.caption
    assert made.told.alt.count("parting at token") == len(data["partings"])


def test_ids_follow_the_bins() -> None:
    data = figures.ids(context())
    assert data["offsets"] == [151_670] and data["length"] == data["rows"] == 152_670
    assert drawn(figures.draw_ids(data))


def test_placeholders_follow_the_grid() -> None:
    data = figures.images(context())
    assert [r["pads"] for r in data["rows"]] == [w * h // 1024 for w, h in figures.SIZES]
    assert drawn(figures.draw_images(data))


@pytest.mark.parametrize(("fault", "errors", "cut"), [("", 3, 0), ("template.raise_cuts", 0, 3)])
def test_the_limit_shows_errors_or_cuts(fault: str, errors: int, cut: int) -> None:
    data = figures.limit(context(fault))
    assert data["max_length"] == 12_000
    assert sum(r["error"] for r in data["rows"]) == errors
    assert sum(0 < r["kept"] < r["answer"] for r in data["rows"]) == cut
    assert drawn(figures.draw_limit(data))
