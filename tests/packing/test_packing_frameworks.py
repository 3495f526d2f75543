"""`batch` on what other frameworks hand to a model: right batches in their layouts hold, and one fault in each is told.

The kinds are those of public reports (NeMo Automodel 2172, LLaMA-Factory 7754, 10283 and 10783, Megatron-Bridge 4507,
verl 3469, EasyR1 494); the batches are our own.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.packing.artifact import of_tensors
from coordexp_audit_lib.cli import main
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import judge_all
from coordexp_audit_lib.kit import mrope
from coordexp_audit_lib.kit.profile import BUILT_IN, IMAGE_PAD, VIDEO_PAD, VISION_END, VISION_START

boundaries.load(["packing"])
PROFILE = BUILT_IN["qwen3_vl"]
Tensors = dict[str, Any]
Change = Callable[[Tensors], Tensors]
GRIDS = ([(1, 8, 12)], [], [(1, 6, 6), (1, 4, 10)], [(1, 4, 4)])


def sample(grids: list[tuple[int, int, int]], rng: np.random.Generator, video: bool = False) -> Tensors:
    """A sample of text, its pictures, and an answer that is supervised."""
    ids = list(rng.integers(1000, 100_000, rng.integers(3, 9)))
    for t, h, w in grids:
        for _ in range(t if video else 1):
            pads = h * w // PROFILE.merge_size**2 * (1 if video else t)
            stamp = list(rng.integers(1000, 100_000, 2)) if video else []
            ids += [*stamp, VISION_START, *[VIDEO_PAD if video else IMAGE_PAD] * pads, VISION_END]
    answer = list(rng.integers(1000, 100_000, rng.integers(5, 12)))
    made = np.array([*ids, *answer])
    return {
        "ids": made,
        "labels": np.where(np.arange(len(made)) < len(ids), -100, made),
        "grids": grids,
        "video": video,
    }


def samples(seed: int, video: bool = False) -> list[Tensors]:
    rng = np.random.default_rng(seed)
    made = [sample(g, rng) for g in GRIDS]
    return [*made, sample([(2, 4, 8)], rng, video=True)] if video else made


def joined(parts: list[Tensors], pad_to: int = 1) -> Tensors:
    """ids, labels [1, L], rows [3, 1, L], numbers [1, L], the ends of the places, and the real lengths."""
    out: dict[str, list[Any]] = {n: [] for n in ("ids", "labels", "rows", "numbers")}
    ends, real = [0], []
    for number, part in enumerate(parts, 1):
        n = len(part["ids"])
        room = -(-n // pad_to) * pad_to
        ids = np.concatenate([part["ids"], np.full(room - n, PROFILE.pad)])
        grids = {"videos" if part["video"] else "images": part["grids"] or None}
        out["ids"].append(ids)
        out["labels"].append(np.concatenate([part["labels"], np.full(room - n, -100)]))
        out["rows"].append(mrope.positions(ids, PROFILE, **grids))
        out["numbers"].append(np.full(room, number))
        ends.append(ends[-1] + room)
        real.append(n)
    images = [g for p in parts if not p["video"] for g in p["grids"]]
    videos = [g for p in parts if p["video"] for g in p["grids"]]
    made: Tensors = {n: np.concatenate(v, axis=-1) for n, v in out.items()}
    made |= {"ends": np.array(ends, np.int32), "real": np.array(real), "image_grid_thw": np.array(images)}
    return made | ({"video_grid_thw": np.array(videos)} if videos else {})


def grids_of(j: Tensors) -> Tensors:
    return {n: j[n] for n in ("image_grid_thw", "video_grid_thw") if n in j}


def text_of(j: Tensors) -> Any:
    return np.concatenate([np.arange(b - a) for a, b in pairwise(j["ends"])])


def swift(j: Tensors) -> Tensors:
    longest = np.int32(np.diff(j["ends"]).max())
    return {
        **grids_of(j),
        **{"input_ids": j["ids"][None], "labels": j["labels"][None], "position_ids": j["rows"][:, None]},
        **{"text_position_ids": text_of(j)[None], "cu_seq_lens_q": j["ends"], "cu_seq_lens_k": j["ends"]},
        **{"max_length_q": longest, "max_length_k": longest},
    }


def numbered(j: Tensors) -> Tensors:
    made = {"input_ids": j["ids"][None], "labels": j["labels"][None], "position_ids": j["rows"][:, None]}
    return {**grids_of(j), **made, "attention_mask": j["numbers"][None]}


def copied_temporal(j: Tensors) -> Tensors:
    made = numbered(j)
    del made["attention_mask"]
    return {**made, "position_ids": np.concatenate([j["rows"][:1], j["rows"]])[:, None]}


def block(j: Tensors, kind: str = "bool") -> Tensors:
    same = j["numbers"][:, None] == j["numbers"][None]
    seen = same & np.tri(len(j["ids"]), dtype=bool)
    mask = seen if kind == "bool" else seen.astype(np.int64) if kind == "ints" else np.where(seen, 0.0, -3.0e38)
    return {**numbered(j), "attention_mask": mask[None, None]}


def four_rows(j: Tensors) -> Tensors:
    made = numbered(j)
    del made["attention_mask"]
    return {**made, "position_ids": np.concatenate([text_of(j)[None], j["rows"]])[:, None]}


def automodel(j: Tensors) -> Tensors:
    """Each sample loses its last token in the ids and its first in the labels; the mask numbers the samples."""
    keep = np.ones(len(j["ids"]), bool)
    keep[j["ends"][1:] - 1] = False
    later = np.concatenate([j["labels"][1:], [-100]])
    made = {"input_ids": j["ids"][keep][None], "labels": later[keep][None], "position_ids": j["rows"][:, keep][:, None]}
    return {**grids_of(j), **made, "attention_mask": j["numbers"][keep][None]}


def megatron(j: Tensors) -> Tensors:
    """Padded THD: labels shifted within each place, real lengths beside the places, a loss mask of its own."""
    labels = j["labels"].copy()
    for a, b in pairwise(j["ends"]):
        labels[a:b] = np.append(labels[a + 1 : b], -100)
    real = np.concatenate([[0], np.cumsum(j["real"])]).astype(np.int32)
    names = {"cu_seqlens_q": real, "cu_seqlens_kv": real, "cu_seqlens_q_padded": j["ends"]}
    longest = {"max_seqlen_q": np.diff(j["ends"]).max(), "max_seqlen_kv": np.diff(j["ends"]).max()}
    params = {f"packed_seq_params.{n}": v for n, v in (names | longest).items()}
    made = {"tokens": j["ids"][None], "labels": labels[None], "loss_mask": (labels != -100).astype(np.float32)[None]}
    return {**grids_of(j), **made, **params, "position_ids": j["rows"][:, None]}


LAYOUTS: dict[str, tuple[Callable[[Tensors], Tensors], int]] = {
    "ms-swift": (swift, 1),
    "numbered mask": (numbered, 1),
    "temporal row copied": (copied_temporal, 1),
    "block mask": (block, 1),
    "block mask of ints": (lambda j: block(j, "ints"), 1),
    "block mask that is added": (lambda j: block(j, "added"), 1),
    "four rows": (four_rows, 1),
    "shifted, numbered": (automodel, 1),
    "padded THD": (megatron, 8),
}


def findings(tensors: Tensors, **how: Any) -> list[Finding]:
    return judge_all(of_tensors(tensors, profile=PROFILE, **how), "packing")


def told(tensors: Tensors) -> list[tuple[str, Any]]:
    """(claim, first token) of all that is violated."""
    return [
        (f.invariant.removeprefix("packing."), (v.counterexample or {}).get("token"))
        for f in findings(tensors)
        for v in f.violations
    ]


@pytest.mark.parametrize("video", [False, True], ids=["images", "and a video"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_right_batch_of_any_layout_holds(layout: str, seed: int, video: bool) -> None:
    made, pad_to = LAYOUTS[layout]
    found = findings(made(joined(samples(seed, video), pad_to)))
    assert [(f.invariant, f.violations, f.note) for f in found if f.status in ("violated", "error")] == []
    assert any(f.status == "held" for f in found)


def across(j: Tensors) -> Tensors:
    """mRoPE rows of the whole pack, as if it were one sample."""
    grids = {"images": j["image_grid_thw"], "videos": j.get("video_grid_thw")}
    return {**j, "rows": mrope.positions(j["ids"], PROFILE, **grids)}


@pytest.mark.parametrize("layout", ["ms-swift", "numbered mask", "block mask", "shifted, numbered", "padded THD"])
def test_mrope_over_the_whole_pack_is_told_as_harmless_and_against_the_rule(layout: str) -> None:
    made, pad_to = LAYOUTS[layout]
    found = {f.invariant: f for f in findings(made(across(joined(samples(1), pad_to))))}
    finding = found["packing.positions_restart"]
    assert (finding.status, finding.severity) == ("violated", "P2")
    assert "harmless" in finding.violations[0].message and "broken" in finding.violations[0].message
    assert [f.invariant for f in found.values() if f.status == "violated"] == [finding.invariant]


def swapped_rows(t: Tensors) -> Tensors:
    rows = t["position_ids"].copy()
    rows[[-1, -2]] = rows[[-2, -1]]
    return {**t, "position_ids": rows}


def unnumbered(t: Tensors) -> Tensors:
    return {**t, "attention_mask": np.ones_like(t["attention_mask"])}


def one_number_short(t: Tensors) -> Tensors:
    return {**t, "attention_mask": np.maximum(t["attention_mask"] - 1, 1)}


def cut_short(t: Tensors) -> Tensors:
    bad = {n: np.array([0, 5], np.int32) for n in t if n.endswith(("cu_seqlens_q", "cu_seqlens_kv"))}
    return {**t, **bad}


def too_long(t: Tensors) -> Tensors:
    bad = {n: v + np.array([0, 0, 9, 9, 9], np.int32) for n, v in t.items() if n.endswith("cu_seqlens_q")}
    return {**t, **bad}


def rows_only(t: Tensors) -> Tensors:
    return {n: v for n, v in t.items() if n != "attention_mask"}


def labels_by_two(t: Tensors) -> Tensors:
    return {**t, "labels": np.append(t["labels"][:, 2:], [[-100, -100]], axis=1)}


def leaks(t: Tensors) -> Tensors:
    mask = t["attention_mask"].copy()
    mask[0, 0, -1, 0] = mask.max()
    return {**t, "attention_mask": mask}


def stray_pad(t: Tensors) -> Tensors:
    ids = t["input_ids"].copy()
    ids[0, -3] = IMAGE_PAD
    return {**t, "input_ids": ids, "labels": np.where(ids == IMAGE_PAD, -100, t["labels"])}


BAD: list[tuple[str, Change, str]] = [
    ("ms-swift", swapped_rows, "positions_restart"),
    ("ms-swift", stray_pad, "vision_in_order"),
    ("ms-swift", labels_by_two, "no_cross_boundary_label"),
    ("numbered mask", swapped_rows, "positions_restart"),
    ("numbered mask", unnumbered, "fields_aligned"),
    ("numbered mask", one_number_short, "fields_aligned"),
    ("numbered mask", rows_only, "fields_aligned"),
    ("numbered mask", labels_by_two, "no_cross_boundary_label"),
    ("block mask", leaks, "fields_aligned"),
    ("block mask of ints", leaks, "fields_aligned"),
    ("block mask that is added", leaks, "fields_aligned"),
    ("four rows", swapped_rows, "positions_restart"),
    ("shifted, numbered", swapped_rows, "positions_restart"),
    ("padded THD", cut_short, "cu_seqlens"),
    ("padded THD", too_long, "cu_seqlens"),
]


@pytest.mark.parametrize(("layout", "change", "claim"), BAD, ids=[f"{b[0]}: {b[1].__name__}" for b in BAD])
@pytest.mark.parametrize("seed", range(2))
def test_one_fault_in_any_layout_is_told(layout: str, change: Change, claim: str, seed: int) -> None:
    made, pad_to = LAYOUTS[layout]
    assert claim in {name for name, _ in told(change(made(joined(samples(seed), pad_to))))}


def test_the_stray_pad_is_pointed_at() -> None:
    batch = stray_pad(swift(joined(samples(3))))
    assert ("vision_in_order", batch["input_ids"].shape[1] - 3) in told(batch)


def test_how_a_batch_was_read_is_said() -> None:
    batch = {**megatron(joined(samples(0), 8)), "my_own_tensor": np.ones(3)}
    said = {e.symbol: str(e.value) for e in of_tensors(batch, profile=PROFILE).evidence()}
    assert "tokens is input_ids" in said["names"]
    assert said["not recognised, so not judged"] == "my_own_tensor"
    assert said["labels are read as"].startswith("shifted by one")
    assert said["samples are kept apart by"] == "cu_seq_lens_padded"


def test_a_batch_that_holds_where_it_can_be_decided_exits_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, made in (("right", swift(joined(samples(0)))), ("wrong", swapped_rows(swift(joined(samples(1)))))):
        save_file({n: np.ascontiguousarray(v) for n, v in made.items()}, tmp_path / f"{name}.safetensors")
    assert main(["batch", str(tmp_path / "right.safetensors"), "--profile", "qwen3_vl"]) == 0
    assert main(["batch", str(tmp_path), "--profile", "qwen3_vl"]) == 1
    assert "positions_restart [wrong.safetensors]" in capsys.readouterr().out


def test_labels_said_to_be_unshifted_are_judged_so() -> None:
    batch = automodel(joined(samples(2)))
    strict = {f.invariant: f.status for f in findings(batch, label_shift=0)}
    assert strict["packing.no_cross_boundary_label"] == "violated"
