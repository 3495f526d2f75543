"""A packed batch from a file: which claims its tensors decide; what is said of files and tensors that are no good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from coordexp_audit_lib.boundaries.packing import cases, render
from coordexp_audit_lib.boundaries.packing.batch_file import read
from coordexp_audit_lib.boundaries.packing.decide import decide
from coordexp_audit_lib.boundaries.packing.row import TENSORS
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.kit import picture

Tensors = dict[str, Any]
DECIDED = ("fields_aligned", "cu_seqlens", "positions_restart", "no_cross_boundary_label", "vision_in_order")
PLANS = ("each_once", "stable_order", "ddp_aligned", "fill_at_least_fifo")
MODEL = ("segments_isolated", "loss_equivalent", "eval_unpacked")


def real(padding_to: int = 0, lengths: bool = False) -> Tensors:
    """Four samples, two of them with pictures, as the reference collates them, pixels included."""
    chosen = [cases.samples()[i] for i in (0, 1, 3, 4)]
    encoded = [render.encode_alone(s) for s in chosen]
    made = render.collate(encoded, [0, 1, 2, 3], padding_to)
    found = {n: np.array(v, dtype=made.dtypes[n]) for n, v in made.ints.items()}
    rows = [picture.patches(picture.pixels(p.number, p.width, p.height))[1] for s in chosen for p in s.pictures]
    found["pixel_values"] = (np.concatenate(rows) / 255).astype(np.float32)
    return found | ({"lengths": np.array([e.length for e in encoded])} if lengths else {})


TOKENS = real()["input_ids"].shape[1]


def verdicts(tensors: Tensors, packing_length: int | None = None) -> dict[str, str]:
    return {f.invariant.removeprefix("packing."): f.status for f in decide(tensors, packing_length)}


def violated(tensors: Tensors, packing_length: int | None = None) -> set[str]:
    return {name for name, status in verdicts(tensors, packing_length).items() if status == "violated"}


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("padding_to", [0, 400])
def test_a_correct_batch(padding_to: int, lengths: bool) -> None:
    found = decide(real(padding_to, lengths), packing_length=400)
    status = {f.invariant.removeprefix("packing."): f.status for f in found}
    assert len(found) == 13
    assert status == dict.fromkeys(("capacity", *DECIDED), "held") | dict.fromkeys((*PLANS, *MODEL), "unbound")
    assert all(f.checked == (f.status == "held") and (f.note != "") == (f.status == "unbound") for f in found)


def counted_tail() -> Tensors:
    """The other correct way to pad: one trailing segment that counts on."""
    made = real(400)
    cu = made["cu_seq_lens_q"]
    first = int(cu[4])
    for name in ("text_position_ids", "position_ids"):
        made[name][..., first:] = np.arange(400 - first)
    bounds = np.append(cu[:5], 400).astype(np.int32)
    return made | {"cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds} | longest(int(np.diff(bounds).max()))


def longest(n: int) -> Tensors:
    return {"max_length_q": np.int32(n), "max_length_k": np.int32(n)}


def test_a_tail_that_counts_on_is_correct_too() -> None:
    assert not violated(counted_tail())


def changed(**changes: Any) -> Tensors:
    """The correct batch with some tensors replaced, or taken out by None."""
    made = real()
    for name, change in changes.items():
        made[name] = change(made[name]) if callable(change) else change
    return {n: a for n, a in made.items() if a is not None}


def four_rows(tensors: Tensors) -> Tensors:
    rows = np.concatenate([tensors["text_position_ids"][None], tensors["position_ids"]])
    return {n: a for n, a in {**tensors, "position_ids": rows}.items() if n != "text_position_ids"}


def through(a: Any) -> Any:
    return np.broadcast_to(np.arange(a.shape[-1]), a.shape).copy()


def poisoned(a: Any) -> Any:
    made = a.copy()
    made[3, 7] = np.nan
    return made


def first_taught(a: Any) -> Any:
    """The labels with the second segment's first token supervised."""
    made = a.copy()
    at = int(real()["cu_seq_lens_q"][1])
    made[0, at] = real()["input_ids"][0, at]
    return made


ALIGNED, CU, POSITIONS, LABELS, VISION = DECIDED
BAD: list[tuple[str, dict[str, Any], set[str]]] = [
    ("text positions count through", {"text_position_ids": through}, {ALIGNED, POSITIONS}),
    ("mRoPE rows count through", {"position_ids": through}, {ALIGNED, POSITIONS}),
    ("text rows for mRoPE", {"position_ids": lambda a: np.stack([real()["text_position_ids"]] * 3)}, {POSITIONS}),
    ("height and width exchanged", {"position_ids": lambda a: a[[0, 2, 1]]}, {POSITIONS}),
    ("one row for a picture", {"position_ids": lambda a: real()["text_position_ids"]}, {POSITIONS}),
    ("cu_seq_lens in int64", {"cu_seq_lens_q": lambda a: a.astype(np.int64)}, {CU}),
    ("cu_seq_lens in float", {"cu_seq_lens_q": lambda a: a.astype(np.float32)}, {ALIGNED, CU}),
    ("cu_seq_lens of two dimensions", {"cu_seq_lens_q": lambda a: a[None]}, {ALIGNED, CU}),
    ("a mask of ones", {"attention_mask": np.ones((1, TOKENS), np.int64)}, {ALIGNED}),
    ("a label over the boundary", {"labels": first_taught}, {LABELS}),
    ("labels shifted", {"labels": lambda a: np.append(a[:, 1:], [[-100]], axis=1)}, {LABELS}),
    ("labels hold -1", {"labels": lambda a: np.where(a == -100, -1, a)}, {ALIGNED, LABELS}),
    ("labels as float", {"labels": lambda a: a.astype(np.float64)}, {ALIGNED, LABELS}),
    ("labels unsigned", {"labels": lambda a: np.where(a < 0, 0, a).astype(np.uint32)}, {ALIGNED, LABELS}),
    ("labels too short", {"labels": lambda a: a[:, :-1]}, {ALIGNED}),
    ("no tokens at all", {"input_ids": np.zeros((1, 0), np.int64)}, {ALIGNED}),
    ("tokens as text", {"input_ids": np.array([["a", "b"]])}, {ALIGNED}),
    ("tokens beyond reason", {"input_ids": lambda a: a + (1 << 50)}, {ALIGNED}),
    ("a pixel that is NaN", {"pixel_values": poisoned}, {ALIGNED, VISION}),
    ("pixel rows lost", {"pixel_values": lambda a: a[:-1]}, {VISION}),
    ("grids exchanged", {"image_grid_thw": lambda a: a[::-1]}, {VISION}),
    ("grids of two columns", {"image_grid_thw": lambda a: a[:, :2]}, {ALIGNED, VISION}),
    ("max_length of the pack", longest(TOKENS), {CU}),
]


@pytest.mark.parametrize(("changes", "expected"), [c[1:] for c in BAD], ids=[c[0] for c in BAD])
def test_a_bad_tensor_breaks_its_claims(changes: dict[str, Any], expected: set[str]) -> None:
    tensors = changed(**changes)
    assert violated(tensors) == expected
    assert "error" not in verdicts(tensors).values()


def test_four_rows_carry_the_text_row() -> None:
    tensors = four_rows(real())
    assert verdicts(tensors) == verdicts(real())
    tensors["position_ids"][0] = through(tensors["position_ids"][0])
    assert violated(tensors) == {ALIGNED, POSITIONS}


def test_three_rows_alone_cannot_tell_the_text_row() -> None:
    (found,) = (f for f in decide(changed(text_position_ids=None)) if f.invariant == "packing.positions_restart")
    assert (found.status, found.checked) == ("unbound", 0)
    assert "text_position_ids" in found.note
    swapped = changed(text_position_ids=None, position_ids=lambda a: a[[0, 2, 1]])
    assert POSITIONS in violated(swapped)  # but they can break the claim by themselves


@pytest.mark.parametrize(
    ("gone", "undecided", "word"),
    [
        ("labels", LABELS, "labels"),
        ("cu_seq_lens_q", CU, "cu_seq_lens_q"),
        ("image_grid_thw", VISION, "image_grid_thw"),
        ("image_grid_thw", POSITIONS, "image_grid_thw"),
        ("position_ids", POSITIONS, "position_ids"),
    ],
)
def test_what_is_missing_is_named(gone: str, undecided: str, word: str) -> None:
    found = {f.invariant: f for f in decide(changed(**{gone: None}))}[f"packing.{undecided}"]
    assert found.status == "unbound" and word in found.note


def test_capacity_is_judged_once_the_length_is_known() -> None:
    assert verdicts(real())["capacity"] == "unbound"
    assert violated(real(), packing_length=TOKENS - 1) == {"capacity"}
    assert not violated(real(), packing_length=TOKENS)


def test_a_batch_of_several_rows_is_not_a_pack() -> None:
    rows = {"input_ids": np.ones((4, 9), np.int64), "labels": np.ones((4, 9), np.int64)}
    assert set(verdicts(rows).values()) == {"unbound"}


@pytest.mark.parametrize("write", [lambda p, t: np.savez(p, **t), lambda p, t: np.savez_compressed(p, **t), save_file])
def test_a_file_says_what_its_tensors_say(write: Callable[..., None], tmp_path: Path) -> None:
    tensors = {n: np.ascontiguousarray(a) for n, a in real(lengths=True).items()}
    path = tmp_path / "packed.npz"
    write(*((tensors, path) if write is save_file else (path, {**tensors, "unknown": np.ones(3)})))
    found = read(path)
    assert set(found) == set(tensors) <= set(TENSORS)
    assert all(np.array_equal(found[n], a) and found[n].dtype == a.dtype for n, a in tensors.items())
    assert verdicts(found) == verdicts(real(lengths=True))


def test_bfloat16_pixels_are_read(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file as save_torch

    path = tmp_path / "packed.safetensors"
    pixels = torch.tensor(real()["pixel_values"]).to(torch.bfloat16)
    save_torch({"pixel_values": pixels, "input_ids": torch.tensor(real()["input_ids"])}, path)
    assert np.array_equal(read(path)["pixel_values"], pixels.float().numpy())


def zipped(tmp_path: Path, **arrays: Any) -> bytes:
    np.savez(tmp_path / "made.npz", **arrays)
    return (tmp_path / "made.npz").read_bytes()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda t: b"", "the file is empty"),
        (lambda t: b"no tensors here", "is no whole safetensors file"),
        (lambda t: zipped(t, **real())[:5000], "is no whole npz file"),
        (lambda t: save({"input_ids": np.ones((1, 99), np.int64)})[:200], "is no whole safetensors file"),
        (lambda t: zipped(t, labels=np.array([{"a": 1}], dtype=object)), "labels can't be read"),
        (lambda t: zipped(t, other=np.ones(3)), "holds no tensor of a packed batch"),
        (zipped, "holds no tensor of a packed batch"),
        (lambda t: save({"other": np.ones(3)}), "holds no tensor of a packed batch"),
        (lambda t: b"\x93NUMPY\x01\x00", "one array without a name"),
    ],
    ids=["empty", "text", "cut npz", "cut safetensors", "pickled", "other names", "empty npz", "other st", "npy"],
)
def test_a_file_that_is_no_batch_is_refused_in_one_line(
    content: Callable[[Path], bytes], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "batch.bin"
    path.write_bytes(content(tmp_path))
    with pytest.raises(UsageError, match=words) as caught:
        read(path)
    assert "\n" not in str(caught.value) and "Remedy: " in str(caught.value)


def test_a_member_that_is_cut_within_a_whole_zip_is_refused(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "batch.npz"
    np.save(tmp_path / "labels.npy", np.ones((1, 99), np.int64))
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("labels.npy", (tmp_path / "labels.npy").read_bytes()[:-100])
    with pytest.raises(UsageError, match="labels can't be read"):
        read(path)


@pytest.mark.parametrize("place", ["missing.npz", "."])
def test_no_file_is_refused(place: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path / place)


def test_nothing_to_judge_is_refused() -> None:
    with pytest.raises(UsageError, match="no tensor"):
        decide({"x": np.ones(3)})
