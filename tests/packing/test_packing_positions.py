"""The mRoPE rows that the audit computes by itself: against transformers' own, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from coordexp_audit_lib.boundaries.packing import cases
from coordexp_audit_lib.boundaries.packing.artifact import PackedRow
from coordexp_audit_lib.boundaries.packing.predicates.positions import mrope_rows
from coordexp_audit_lib.boundaries.packing.reference import batches
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Undecided
from coordexp_audit_lib.kit import model, mrope

PAD = 151_655
ENCODED = [batches.encode_one(s) for s in cases.samples()]


def rows_of(ids: list[int], grid: list[list[int]]) -> list[list[int]]:
    found: list[list[int]] = mrope.positions(ids, batches.PROFILE, images=grid).tolist()
    return found


def test_by_hand() -> None:
    """Two tokens of text, an image of 4 x 6 patches, text: it goes on at 2 + max(4, 6) / 2."""
    temporal, height, width = rows_of([1, 2, *[PAD] * 6, 3, 4], [[1, 4, 6]])
    assert temporal == [0, 1, 2, 2, 2, 2, 2, 2, 5, 6]
    assert height == [0, 1, 2, 2, 2, 3, 3, 3, 5, 6]
    assert width == [0, 1, 2, 3, 4, 2, 3, 4, 5, 6]


def test_the_largest_position_is_not_the_length() -> None:
    ids = [1, *[PAD] * 64, 2]
    assert max(map(max, rows_of(ids, [[1, 16, 16]]))) == 9 and len(ids) == 66


@pytest.mark.parametrize("i", range(len(ENCODED)))
def test_as_transformers_computes_them(i: int) -> None:
    import torch

    one = ENCODED[i]
    mine = rows_of(one.input_ids, one.grid)
    grid = torch.tensor(one.grid) if one.grid else None
    theirs, _ = model.small().model.get_rope_index(torch.tensor([one.input_ids]), grid)
    assert mine == theirs[:, 0].tolist()


def test_a_pack_is_its_samples_one_after_the_other() -> None:
    ids = np.concatenate([e.input_ids for e in ENCODED])
    grid = np.concatenate([np.array(e.grid, dtype=int).reshape(-1, 3) for e in ENCODED])
    bounds = np.concatenate([[0], np.cumsum([e.length for e in ENCODED])]).tolist()
    unpacked = np.concatenate([rows_of(e.input_ids, e.grid) for e in ENCODED], axis=1)
    assert np.array_equal(mrope.positions(ids, batches.PROFILE, bounds, images=grid), unpacked)


def pictured(**changes: object) -> PackedRow:
    """A text-only sample, then one with an image, in one pack."""
    made = batches.collate([ENCODED[1], ENCODED[0]], [0, 1])
    tensors = {n: np.array(v) for n, v in made.ints.items()} | changes
    return PackedRow({n: a for n, a in tensors.items() if a is not None}, batches.PROFILE)


@pytest.mark.parametrize(("row", "name"), [(0, "temporal"), (1, "height"), (2, "width")])
@pytest.mark.parametrize("token", [0, 7, -1])
def test_a_wrong_entry_is_named_with_its_row_and_token(row: int, name: str, token: int) -> None:
    ids = pictured().tensors["position_ids"].copy()
    ids[row, 0, token] += 1
    (found,) = mrope_rows(pictured(position_ids=ids), Ledger())
    assert name in found.message and found.token == token % ids.shape[-1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image_grid_thw": None}, "needs image_grid_thw"),
        ({"image_grid_thw": np.array([[1, 2, 2]])}, "does not fit"),
        ({"position_ids": None}, "needs position_ids"),
        ({"input_ids": None}, "needs input_ids"),
    ],
)
def test_what_cannot_be_decided_is_said(changes: dict[str, object], words: str) -> None:
    with pytest.raises(Undecided, match=words):
        list(mrope_rows(pictured(**changes), Ledger()))
