"""A packed batch from a file: which claims its tensors decide; what is said of files and tensors that are no good."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.packing import cases
from coordexp_audit_lib.boundaries.packing.artifact import TENSORS, of_tensors, read
from coordexp_audit_lib.boundaries.packing.reference import batches
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import judge_all
from coordexp_audit_lib.kit import mrope, picture
from coordexp_audit_lib.kit.profile import BUILT_IN, named

boundaries.load(["packing"])
Tensors = dict[str, Any]
DECIDED = ("fields_aligned", "cu_seqlens", "positions_restart", "no_cross_boundary_label", "vision_in_order")
# A batch by itself does not tell what its samples supervise, nor whose pixel rows are whose.
IN_PART = {"no_cross_boundary_label", "vision_in_order"}
PLANS = ("each_once", "stable_order", "ddp_aligned", "fill_at_least_fifo")
MODEL = ("segments_isolated", "loss_equivalent", "eval_unpacked")


def real(padding_to: int = 0, lengths: bool = False) -> Tensors:
    """Four samples, two of them with pictures, as the reference collates them, pixels included."""
    chosen = [cases.samples()[i] for i in (0, 1, 3, 4)]
    encoded = [batches.encode_one(s) for s in chosen]
    made = batches.collate(encoded, [0, 1, 2, 3], padding_to)
    found = {n: np.array(v, dtype=made.dtypes[n]) for n, v in made.ints.items()}
    rows = [picture.patches(picture.pixels(p.number, p.width, p.height))[1] for s in chosen for p in s.pictures]
    found["pixel_values"] = (np.concatenate(rows) / 255).astype(np.float32)
    return found | ({"lengths": np.array([e.length for e in encoded])} if lengths else {})


TOKENS = real()["input_ids"].shape[1]


def decide(tensors: Tensors, packing_length: int | None = None, profile: str = "") -> list[Finding]:
    return judge_all(of_tensors(tensors, packing_length, profile=named(profile) if profile else None), "packing")


def verdicts(tensors: Tensors, packing_length: int | None = None, profile: str = "") -> dict[str, str]:
    return {f.invariant.removeprefix("packing."): f.status for f in decide(tensors, packing_length, profile)}


def violated(tensors: Tensors, packing_length: int | None = None, profile: str = "") -> set[str]:
    return {name for name, status in verdicts(tensors, packing_length, profile).items() if status == "violated"}


def found(tensors: Tensors, claim: str, profile: str = "") -> Finding:
    return {f.invariant: f for f in decide(tensors, profile=profile)}[f"packing.{claim}"]


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("padding_to", [0, 400])
def test_a_correct_batch(padding_to: int, lengths: bool) -> None:
    findings = {f.invariant.removeprefix("packing."): f for f in decide(real(padding_to, lengths), packing_length=400)}
    status = {name: f.status for name, f in findings.items()}
    assert len(findings) == 13
    held = {"capacity", *DECIDED} - IN_PART
    assert status == dict.fromkeys(held, "held") | dict.fromkeys((*IN_PART, *PLANS, *MODEL), "unbound")
    assert all((f.note != "") == (f.status == "unbound") for f in findings.values())
    assert all("needs the samples" in findings[name].note for name in IN_PART)
    # Packs, fields, segments, segments, supervised labels, images; of what a batch can't tell, nothing.
    counts = dict(zip(("capacity", *DECIDED), (1, 4, 4, 4, 102, 3), strict=True))
    assert {n: f.checked for n, f in findings.items() if n not in (*PLANS, *MODEL)} == counts
    assert all(findings[n].checked == 0 for n in (*PLANS, *MODEL))


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


def first_supervised(a: Any) -> Any:
    """The labels with the second segment's first token supervised."""
    made = a.copy()
    at = int(real()["cu_seq_lens_q"][1])
    made[0, at] = real()["input_ids"][0, at]
    return made


ALIGNED, CU, POSITIONS, LABELS, VISION = DECIDED
BAD: list[tuple[str, dict[str, Any], set[str]]] = [
    ("text positions count through", {"text_position_ids": through}, {ALIGNED, POSITIONS}),
    ("mRoPE rows count through", {"position_ids": through}, {POSITIONS}),
    ("text rows for mRoPE", {"position_ids": lambda a: np.stack([real()["text_position_ids"]] * 3)}, {POSITIONS}),
    ("height and width exchanged", {"position_ids": lambda a: a[[0, 2, 1]]}, {POSITIONS}),
    ("one row for a picture", {"position_ids": lambda a: real()["text_position_ids"]}, {POSITIONS}),
    ("cu_seq_lens in int64", {"cu_seq_lens_q": lambda a: a.astype(np.int64)}, {CU}),
    ("cu_seq_lens in float", {"cu_seq_lens_q": lambda a: a.astype(np.float32)}, {ALIGNED, CU}),
    ("cu_seq_lens of two dimensions", {"cu_seq_lens_q": lambda a: a[None]}, {ALIGNED, CU}),
    ("a mask of ones", {"attention_mask": np.ones((1, TOKENS), np.int64)}, {ALIGNED}),
    ("a label over the boundary", {"labels": first_supervised}, {LABELS}),
    ("labels shifted by two", {"labels": lambda a: np.append(a[:, 2:], [[-100, -100]], axis=1)}, {LABELS}),
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


def test_three_rows_need_no_text_row_where_a_kernel_reads_the_bounds() -> None:
    finding = found(changed(text_position_ids=None), POSITIONS)
    assert (finding.status, finding.checked) == ("held", 4)
    swapped = found(changed(text_position_ids=None, position_ids=lambda a: a[[0, 2, 1]]), POSITIONS)
    assert (swapped.status, swapped.checked) == ("violated", 4)  # they can break the claim by themselves


def test_boundaries_that_one_tensor_tells_agree_with_nothing() -> None:
    alone = {n: a for n, a in text_only().items() if n in ("input_ids", "labels", "text_position_ids")}
    one_row = {"position_ids" if n.startswith("text") else n: a for n, a in alone.items()}
    finding = found(one_row, ALIGNED)
    assert (finding.status, finding.checked) == ("unbound", 3) and "nothing to compare" in finding.note
    told = {n: a for n, a in text_only().items() if n == "cu_seq_lens_q"}
    assert found(one_row | told, ALIGNED).status == "held"


@pytest.mark.parametrize(
    ("gone", "undecided"),
    [
        *(("labels", LABELS), ("input_ids", LABELS), ("labels", ALIGNED), ("position_ids", ALIGNED)),
        *(("image_grid_thw", POSITIONS), ("position_ids", POSITIONS), ("input_ids", POSITIONS)),
        *(("cu_seq_lens_q", CU), ("cu_seq_lens_k", CU), ("max_length_q", CU)),
        ("pixel_values", VISION),
    ],
)
def test_what_is_missing_is_named(gone: str, undecided: str) -> None:
    finding = found(changed(**{gone: None}), undecided)
    assert finding.status == "unbound" and gone in finding.note


def test_pictures_without_a_grid_are_told() -> None:
    """With pixel rows a grid is missing; with neither, they may have been left out of the file."""
    lost = found(changed(image_grid_thw=None), VISION)
    assert (lost.status, lost.severity) == ("violated", "P0") and "no image_grid_thw" in lost.violations[0].message
    bare = changed(image_grid_thw=None, pixel_values=None)
    assert found(bare, VISION).severity == "P2"
    strict = {f.invariant: f for f in judge_all(of_tensors(bare, whole=True), "packing")}
    assert strict[f"packing.{VISION}"].severity == "P0"


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
    there = read(path)
    assert {n for n, a in there.items() if a is not None} == set(tensors) <= set(TENSORS)
    assert write is save_file or "unknown" in there
    assert all(np.array_equal(there[n], a) and there[n].dtype == a.dtype for n, a in tensors.items())
    assert verdicts(there) == verdicts(real(lengths=True))


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


def test_what_torch_saved_is_refused_with_what_to_do(tmp_path: Path) -> None:
    import torch

    torch.save({"input_ids": torch.ones(1, 4, dtype=torch.int64)}, tmp_path / "batch.pt")
    with pytest.raises(UsageError, match=r"torch\.save.*save_file"):
        read(tmp_path / "batch.pt")


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


def text_only() -> Tensors:
    chosen = [batches.encode_one(cases.samples()[i]) for i in (1, 4)]
    made = batches.collate(chosen, [0, 1])
    return {n: np.array(v, dtype=made.dtypes[n]) for n, v in made.ints.items()}


def test_of_a_pack_without_images_nothing_is_said_about_images() -> None:
    finding = found(text_only(), VISION)
    assert (finding.status, finding.checked) == ("unbound", 0) and "nothing that the claim is about" in finding.note
    assert not violated(text_only()) and not violated(text_only(), profile="qwen3_vl")


def other_ids(tensors: Tensors) -> Tensors:
    """The batch of a model whose image token has another id."""
    return {**tensors, "input_ids": np.where(tensors["input_ids"] == 151_655, 9, tensors["input_ids"])}


def test_image_tokens_of_other_ids_are_known_by_their_profile() -> None:
    for claim in (VISION, POSITIONS):
        finding = found(other_ids(real()), claim)
        assert finding.status == "unbound" and "needs the profile" in finding.note
    assert found(other_ids(real()), VISION, "qwen3_vl,image_pad=9").checked == 3
    assert found(other_ids(real()), POSITIONS, "qwen3_vl,image_pad=9").status == "held"
    assert VISION in violated(other_ids(real()), profile="qwen3_vl")  # named, so that its pads are missing here


def shifted(tensors: Tensors, *, each: bool) -> Tensors:
    """Labels that are shifted already: within each sample, or over the whole pack."""
    labels, ends = tensors["labels"].copy(), tensors["cu_seq_lens_q"].tolist()
    for a, b in pairwise(ends if each else [0, TOKENS]):
        labels[0, a:b] = np.append(labels[0, a + 1 : b], -100)
    return {**tensors, "labels": labels}


@pytest.mark.parametrize("each", [False, True])
def test_labels_that_are_shifted_already_are_judged_as_the_profile_says(each: bool) -> None:
    tensors = shifted(real(), each=each)
    assert not violated(tensors)
    strict = judge_all(of_tensors(tensors, label_shift=0), "packing")
    assert {f.invariant for f in strict if f.status == "violated"} == {f"packing.{LABELS}"}
    assert not violated(tensors, profile="qwen3_vl,label_shift=1")
    assert violated(real(), profile="qwen3_vl,label_shift=1") == {LABELS}
    crossing = shifted(changed(labels=first_supervised), each=False)
    assert violated(crossing, profile="qwen3_vl,label_shift=1") == {LABELS}


def video(**changes: Any) -> Tensors:
    """One sample with a video of two frames as Qwen3-VL writes them: each with its own pads, text between."""
    frame = [151_652, *[151_656] * 6, 151_653]
    ids = [5, 6, *frame, 7, 8, *frame, 9]
    n = len(ids)
    grid = np.array([[2, 4, 6]])
    rows = mrope.positions(ids, BUILT_IN["qwen3_vl"], videos=grid)
    made = {
        "input_ids": np.array([ids]),
        "labels": np.array([[-100] * (n - 1) + [9]]),
        "position_ids": np.concatenate([np.arange(n)[None], rows])[:, None],
        "video_grid_thw": grid,
        "pixel_values_videos": np.zeros((48, 1536), np.float32),
    }
    return made | changes


def test_a_video_is_judged_as_its_family_numbers_it() -> None:
    assert not violated(video()) and found(video(), VISION).checked == 1
    text = np.broadcast_to(np.arange(video()["input_ids"].shape[1]), video()["position_ids"].shape)
    assert violated(video(position_ids=text)) == {POSITIONS}
    assert violated(video(pixel_values_videos=np.zeros((47, 1536), np.float32))) == {VISION}
    assert violated(video(video_grid_thw=np.array([[2, 4, 4]]))) == {VISION}
    assert found(video(video_grid_thw=np.array([[2, 4, 4]])), POSITIONS).status == "unbound"
