"""Predicates on packed batches: what passes, what fails and at which token, and what can't be decided."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from coordexp_audit_lib.boundaries.packing.artifact import PackedRow, Unpacked
from coordexp_audit_lib.boundaries.packing.predicates import batch, positions, vision
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem, Undecided

PAD, START = 151_655, 151_644


def good(*lengths: int, **changes: Any) -> PackedRow:
    """Text segments of these lengths; the second half of each is supervised. A change of None takes a tensor out."""
    total = sum(lengths)
    ids = np.arange(100, 100 + total)
    labels = np.concatenate([[-100] * (n - n // 2) + [1] * (n // 2) for n in lengths]).astype(np.int64)
    labels = np.where(labels == 1, ids, labels)
    text = np.concatenate([np.arange(n) for n in lengths])
    cu = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    tensors: dict[str, Any] = {
        "input_ids": ids[None],
        "labels": labels[None],
        "text_position_ids": text[None],
        "position_ids": np.stack([text] * 3)[:, None],
        "cu_seq_lens_q": cu,
        "cu_seq_lens_k": cu,
        "max_length_q": np.int32(max(lengths)),
        "lengths": np.array(lengths),
    }
    return PackedRow({k: v for k, v in {**tensors, **changes}.items() if v is not None})


def text_of(*lengths: int, tail: list[int] | None = None) -> np.ndarray:
    made: np.ndarray = np.concatenate([*(np.arange(n) for n in lengths), np.array(tail or [], dtype=np.int64)])
    return made[None]


def cu(*ends: int, dtype: Any = np.int32) -> np.ndarray:
    return np.array(ends, dtype=dtype)


def block(lengths: list[int]) -> np.ndarray:
    """A square boolean mask that is true within segments."""
    number = np.repeat(np.arange(len(lengths)), lengths)
    return (number[:, None] == number[None, :])[None, None]


FIELDS, CU, LABELS = batch.fields_aligned, batch.cu_seqlens, batch.no_cross_boundary_label
POSITIONS, VISION = positions.positions_restart, vision.vision_in_order
NO_CU: dict[str, Any] = {"cu_seq_lens_q": None, "cu_seq_lens_k": None, "lengths": None}
TWO_RUNS = np.array([[-100, 101, -100, 103, -100, -100, 106]])
CASES: list[tuple[str, Callable[..., Iterator[Problem]], PackedRow, list[int | None]]] = [
    ("several segments", FIELDS, good(4, 3), []),
    ("one segment", FIELDS, good(7), []),
    ("one-token segments", FIELDS, good(1, 1, 4), []),
    ("no cu_seq_lens", FIELDS, good(4, 3, cu_seq_lens_q=None, cu_seq_lens_k=None), []),
    ("2-D text positions", FIELDS, good(4, 3, text_position_ids=None, position_ids=text_of(4, 3)), []),
    ("four rows", FIELDS, good(4, 3, text_position_ids=None, position_ids=np.stack([text_of(4, 3)] * 4)), []),
    ("block mask", FIELDS, good(4, 3, attention_mask=block([4, 3])), []),
    ("numbered mask", FIELDS, good(4, 3, attention_mask=np.array([[1, 1, 1, 1, 2, 2, 2]])), []),
    ("mask of one segment", FIELDS, good(7, attention_mask=np.ones((1, 7), int)), []),
    ("mask of ones over two", FIELDS, good(4, 3, attention_mask=np.ones((1, 7), int)), [4]),
    ("full square mask", FIELDS, good(4, 3, attention_mask=np.ones((1, 1, 7, 7), bool)), [4]),
    ("float mask", FIELDS, good(4, 3, attention_mask=np.zeros((1, 1, 7, 7), np.float32)), [4]),
    ("labels too short", FIELDS, good(4, 3, labels=np.zeros((1, 6), int)), [None]),
    ("two position rows", FIELDS, good(4, 3, position_ids=np.stack([text_of(4, 3)] * 2)), [None]),
    ("boundary lost in cu", FIELDS, good(4, 3, cu_seq_lens_q=cu(0, 7)), [4, 4, 4, 4]),
    ("mRoPE runs on", FIELDS, good(4, 3, position_ids=np.stack([text_of(7)] * 3)), []),
    ("right", CU, good(4, 3), []),
    ("int64", CU, good(4, 3, cu_seq_lens_q=cu(0, 4, 7, dtype=np.int64)), [None]),
    ("not from 0", CU, good(4, 3, cu_seq_lens_q=cu(1, 4, 7), cu_seq_lens_k=None, lengths=None, max_length_q=None), [0]),
    ("not to the end", CU, good(4, 3, cu_seq_lens_q=cu(0, 4, 6), cu_seq_lens_k=None, lengths=None), [6]),
    ("not increasing", CU, good(4, 3, cu_seq_lens_q=cu(0, 4, 4, 7), cu_seq_lens_k=None), [4]),
    ("q and k differ", CU, good(4, 3, cu_seq_lens_k=cu(0, 3, 7), lengths=None), [None]),
    ("not the lengths", CU, good(4, 3, lengths=np.array([3, 4])), [3, 3]),
    ("max_length too long", CU, good(4, 3, max_length_q=np.int32(7)), [None]),
    ("restarting", POSITIONS, good(4, 3), []),
    ("running on", POSITIONS, good(4, 3, text_position_ids=text_of(7)), [4]),
    ("jumping", POSITIONS, good(4, 3, text_position_ids=np.array([[0, 1, 3, 4, 0, 1, 2]])), [2]),
    ("restarting within a sample", POSITIONS, good(4, 3, text_position_ids=text_of(2, 2, 3)), [2]),
    ("not from 0", POSITIONS, good(7, text_position_ids=text_of(8)[:, 1:]), [0, 0]),
    ("text only, no mRoPE rows", POSITIONS, good(4, 3, position_ids=None), []),
    ("mRoPE rows run on", POSITIONS, good(4, 3, position_ids=np.stack([text_of(7)] * 3)), [4]),
    ("four rows restart", POSITIONS, good(4, 3, position_ids=np.stack([text_of(4, 3)] * 4)), []),
    ("own context", LABELS, good(4, 3), []),
    ("several supervised runs", LABELS, good(4, 3, labels=TWO_RUNS), []),
    ("first token of the pack", LABELS, good(7, labels=np.arange(100, 107)[None]), []),
    ("first token of a segment", LABELS, good(4, 3, labels=np.arange(100, 107)[None]), [4]),
    ("found by positions alone", LABELS, good(4, 3, **NO_CU, labels=np.arange(100, 107)[None]), [4]),
    ("shifted", LABELS, good(7, labels=np.append(np.arange(101, 107), -100)[None]), [0]),
]


@pytest.mark.parametrize(("predicate", "row", "tokens"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_predicate(
    predicate: Callable[[PackedRow, Ledger], Iterator[Problem]], row: PackedRow, tokens: list[int | None]
) -> None:
    found = list(predicate(row, Ledger()))
    assert sorted({str(p.token) for p in found}) == sorted({str(t) for t in tokens}), found


def padded(style: str) -> PackedRow:
    """Segments of 4 and 3 tokens and five tokens of padding, in one of the ways that trainers pad."""
    ids, labels = np.append(np.arange(100, 107), [151_643] * 5)[None], np.full((1, 12), -100)
    zeros, counted = text_of(4, 3, tail=[0] * 5), text_of(4, 3, tail=[0, 1, 2, 3, 4])
    text = counted if style == "arange" else zeros
    ends = {"zeros": [0, 4, 7, 8, 9, 10, 11, 12], "arange": [0, 4, 7, 12], "zeros, one bound": [0, 4, 7, 12]}[style]
    tensors: dict[str, Any] = {
        "input_ids": ids,
        "labels": labels,
        "text_position_ids": text,
        "position_ids": np.stack([text] * 3),
        "cu_seq_lens_q": cu(*ends),
        "max_length_q": np.int32(max(np.diff(ends))),
    }
    return PackedRow(tensors)


@pytest.mark.parametrize("style", ["zeros", "arange", "zeros, one bound"])
@pytest.mark.parametrize("predicate", [FIELDS, CU, POSITIONS, LABELS])
@pytest.mark.parametrize("lengths", [None, [4, 3]])
def test_padding_is_no_violation(style: str, predicate: Any, lengths: list[int] | None) -> None:
    row = padded(style)
    if lengths is not None:
        row = PackedRow({**row.tensors, "lengths": np.array(lengths)})
    assert list(predicate(row, Ledger())) == []


def test_a_fault_before_the_padding_is_still_found() -> None:
    row = padded("zeros")
    broken = PackedRow({**row.tensors, "text_position_ids": text_of(7, tail=[0] * 5)})
    assert {p.token for p in POSITIONS(broken, Ledger())} == {4}


def seen(grid: list[list[int]], pads: list[int], rows: int, at: int = 2) -> PackedRow:
    """A pack of one segment whose images have these grids, with this many pads, and this many pixel rows."""
    ids = [START] * at
    for n in pads:
        ids += [151_652, *[PAD] * n, 151_653]
    return PackedRow(
        {"input_ids": np.array(ids)[None], "image_grid_thw": np.array(grid), "pixel_values": np.zeros((rows, 8))}
    )


@pytest.mark.parametrize(
    ("row", "tokens"),
    [
        (seen([[1, 4, 4]], [4], 16), []),
        (seen([[1, 4, 4], [1, 6, 8]], [4, 12], 64), []),
        (seen([[1, 6, 8], [1, 4, 4]], [4, 12], 64), [3]),
        (seen([[1, 4, 4]], [4, 4], 16), [9]),  # the one that no grid is left for
        (seen([[1, 4, 4]], [4], 12), [None]),
        (PackedRow({"input_ids": np.array([[1, 2, 3]])}), []),
    ],
    ids=["one image", "two images", "grids swapped", "an image without grid", "pixel rows missing", "text only"],
)
def test_vision(row: PackedRow, tokens: list[int | None]) -> None:
    assert [p.token for p in VISION(row, Ledger())] == tokens


@pytest.mark.parametrize(
    ("predicate", "tensors", "missing"),
    [
        (CU, {"input_ids": np.zeros((1, 4))}, "cu_seq_lens_q"),
        (POSITIONS, {"input_ids": np.zeros((1, 4)), "position_ids": np.zeros((3, 1, 4))}, "text_position_ids"),
        (LABELS, {"labels": np.zeros((1, 4))}, "cu_seq_lens_q"),
        (FIELDS, {"input_ids": np.zeros((2, 4))}, "one field to align"),
    ],
)
def test_what_the_tensors_cannot_decide_is_said(predicate: Any, tensors: dict[str, Any], missing: str) -> None:
    with pytest.raises(Undecided, match=missing):
        list(predicate(PackedRow(tensors), Ledger()))


def test_samples_alone_convict_a_pack_that_is_consistent_in_itself() -> None:
    row = good(4, 3)
    ids, labels = row.tensors["input_ids"][0], row.tensors["labels"][0]
    none = (np.zeros((0, 3), int), np.zeros(0))
    first, second = (Unpacked(ids[a:b], labels[a:b], *none) for a, b in ((0, 4), (4, 7)))

    def of(*samples: Unpacked) -> PackedRow:
        return PackedRow(row.tensors, samples=samples)

    assert list(LABELS(of(first, second), Ledger())) == []
    assert [p.token for p in LABELS(of(second, first), Ledger())] == [2]
    assert [p.token for p in batch.tokens_concatenated(of(second, first))] == [0]


CAUSAL = block([4, 3]) & np.tri(7, dtype=bool)
ADDED = np.where(CAUSAL, 0, -np.inf).astype(np.float32)


def at(mask: np.ndarray, *places: tuple[int, ...], to: Any = True) -> np.ndarray:
    made = mask.copy()
    for place in places:
        made[(0, *place)] = to
    return made


MASKS: list[tuple[str, np.ndarray, list[int], str]] = [
    ("block-diagonal causal", CAUSAL, [], ""),
    ("of three dimensions", CAUSAL[0], [], ""),
    ("of two dimensions", CAUSAL[0, 0], [], ""),
    ("of ints", CAUSAL.astype(np.int64), [], ""),
    ("of zeros and ones in float", CAUSAL.astype(np.float32), [], ""),
    ("added, −inf", ADDED, [], ""),
    ("added, large negative", np.maximum(ADDED, np.finfo(np.float16).min).astype(np.float16), [], ""),
    ("added ints", np.where(CAUSAL, 0, -10_000), [], ""),
    ("added with a bias by distance", ADDED - np.abs(np.subtract.outer(np.arange(7), np.arange(7))), [], ""),
    ("of two heads", np.concatenate([CAUSAL, CAUSAL], axis=1), [], ""),
    ("segment numbers", np.array([[1, 1, 1, 1, 2, 2, 2]]), [], ""),
    ("segment numbers, 4-D", np.array([[[[1, 1, 1, 1, 2, 2, 2]]]]), [], ""),
    ("padding that sees nothing", CAUSAL & (np.arange(7) < 6)[:, None], [], ""),
    ("causal only", np.tri(7, dtype=bool)[None, None], [4], ""),
    ("zeros and ones in float, causal only", np.tri(7, dtype=np.float32)[None, None], [4], ""),
    ("a later token sees an earlier segment", at(CAUSAL, (0, 5, 1)), [5], ""),
    ("the second head sees", at(np.concatenate([CAUSAL, CAUSAL], axis=1), (1, 6, 0)), [6], ""),
    ("a weak bias hides nothing", at(ADDED, (0, 4, 3), to=-1.0), [4], ""),
    ("all hidden", np.zeros((1, 1, 7, 7), bool), [0], ""),
    ("all hidden, added", np.full((1, 1, 7, 7), -np.inf, np.float32), [0], ""),
    ("all hidden, flat", np.zeros((1, 7), np.int64), [0], ""),
    ("a supervised token is hidden", at(CAUSAL, (0, 3, 3), to=False), [3], ""),
    ("a row for each of two", np.ones((2, 7), np.int64), [], "[2, 7]"),
    ("three rows", np.ones((1, 3, 7), np.int64), [], "[1, 3, 7]"),
    ("added ints to every query alike", np.array([[[[0, 0, 0, 0, 0, 0, -9]]]]), [], "[1, 1, 1, 7]"),
    ("added to every query alike", np.zeros((1, 1, 1, 7), np.float32), [], "[1, 1, 1, 7]"),
]


@pytest.mark.parametrize(("mask", "tokens", "left"), [m[1:] for m in MASKS], ids=[m[0] for m in MASKS])
def test_masks(mask: np.ndarray, tokens: list[int], left: str) -> None:
    ledger, plain = Ledger(), Ledger()
    row = good(4, 3, attention_mask=mask)
    if mask.ndim == 4 and not mask[0, 0, -1].any():
        row.tensors["labels"][0, 5:] = -100
    assert [p.token for p in FIELDS(row, ledger)] == tokens
    assert [left in part for part in ledger.unjudged] == [True] * bool(left)
    assert not list(FIELDS(good(4, 3), plain)) and ledger.checked == plain.checked + (not left)


@pytest.mark.parametrize(
    ("own", "says", "left"),
    [
        (np.zeros((16, 8)), "", ""),
        (np.ones((16, 8)), "pixel row 0 is not that of image 0", ""),
        (np.zeros((15, 8)), "another number of rows", ""),
        (np.zeros((0, 8)), "another number of rows", ""),
        (np.zeros(0), "another number of rows", ""),
        (np.zeros((16, 4)), "", "another shape"),
        (np.zeros(16), "", "another shape"),
    ],
    ids=["its own", "others", "one less", "none", "none of no width", "of another width", "of none"],
)
def test_pixel_rows_of_samples_are_compared_or_said_not_to_be(own: np.ndarray, says: str, left: str) -> None:
    row, ledger = seen([[1, 4, 4]], [4], 16), Ledger()
    ids, text = row.tensors["input_ids"][0], np.zeros((0, 3), int)
    samples = [Unpacked(ids, ids, [[1, 4, 4]], own), Unpacked(ids[:0], ids[:0], text, np.zeros(0))]
    found = list(VISION(PackedRow(row.tensors, samples=samples), ledger))
    assert [says in p.message for p in found] == [True] * bool(says)
    assert [left in part for part in ledger.unjudged] == [True] * bool(left)


@pytest.mark.parametrize(("lengths", "tokens"), [((4, 3), []), ((9,), []), ((4, 4), [7])])
def test_capacity(lengths: tuple[int, ...], tokens: list[int]) -> None:
    row = PackedRow(good(*lengths).tensors, packing_length=7)
    assert [p.token for p in batch.capacity(row, Ledger())] == tokens


def test_twelve_thousand_tokens_are_judged_in_a_few_milliseconds() -> None:
    rows = [good(*[1000] * 12) for _ in range(5)]
    best = min(_seconds(row) for row in rows)
    assert best < 0.01  # about 1 ms on an idle core; a busy machine gets slack


def _seconds(row: PackedRow) -> float:
    started = time.process_time()
    for predicate in (FIELDS, CU, POSITIONS, LABELS):
        assert not list(predicate(row, Ledger()))
    return time.process_time() - started
