"""A picture that a collator appends behind the samples, so that every rank runs the vision tower, is no sample's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from coordexp_audit_lib.boundaries.packing.artifact import PackedRow, Unpacked
from coordexp_audit_lib.boundaries.packing.predicates.vision import vision_in_order
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.kit import chat
from coordexp_audit_lib.kit.profile import BUILT_IN, IMAGE_PAD, VISION_END, VISION_START
from coordexp_audit_lib.kit.replies import batch

GRID = (1, 4, 4)
Change = Callable[[dict[str, Any]], None]


def of_its_own(made: dict[str, Any]) -> None:
    made["labels"][-3] = made["input_ids"][-3]


def in_front(made: dict[str, Any]) -> None:
    for name in ("input_ids", "labels"):
        made[name] = np.roll(made[name], 6)


@pytest.mark.parametrize("known", ["lengths", "places"])
@pytest.mark.parametrize(
    ("change", "told"),
    [(lambda made: None, False), (of_its_own, True), (in_front, True)],
    ids=["idle", "trained", "first"],
)
def test_a_picture_behind_the_samples_that_nothing_supervises_is_let_be(change: Change, told: bool, known: str) -> None:
    ids, labels = chat.render([("user", "<image>What?"), ("assistant", "A cup.")], [GRID])
    tail = [VISION_START, *[IMAGE_PAD] * 4, VISION_END]
    made = {"input_ids": np.array([*ids, *tail]), "labels": np.array([*labels, *[-100] * len(tail)])}
    change(made)
    rows = np.arange(32).astype(str)
    tensors = {**{k: v[None] for k, v in made.items()}, "image_grid_thw": np.array([GRID, GRID]), "pixel_values": rows}
    own = Unpacked(np.array(ids), np.array(labels), np.array([GRID]), rows[:16])
    where: dict[str, Any] = {"places": [(0, 0)]} if known == "places" else {}
    tensors |= {"lengths": np.array([len(ids)])} if known == "lengths" else {}
    row = PackedRow(tensors, BUILT_IN["qwen3_vl"], samples=[own], **where)
    assert bool(list(vision_in_order(row, Ledger()))) == told


def test_a_square_mask_is_told_as_what_it_lets_through() -> None:
    added = np.where(np.tri(3, dtype=bool), 0.0, np.finfo(np.float32).min).astype(np.float32)[None, None]
    told = batch([0], {"input_ids": np.zeros((1, 3), np.int64), "attention_mask": added})
    assert told["ints"]["attention_mask"] == np.tri(3, dtype=int)[None, None].tolist()
    assert told["dtypes"]["attention_mask"] == "bool"
