"""Bugs that a batch shows, each in a batch of two chat samples."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from coordexp_audit_lib.kit import model, mrope
from coordexp_audit_lib.kit.profile import IMAGE_PAD
from tests.silent_bugs.packs import (
    IM_END,
    PROFILE,
    Tensors,
    against,
    asked,
    bare,
    ends,
    numbers,
    pack,
    pictures,
    rounded,
    samples,
    targets,
)
from tests.silent_bugs.pairs import Pair


def mask_of_ones(broken: bool, _: Path) -> Tensors:
    return {**bare(), **({"attention_mask": np.ones_like(bare()["input_ids"])} if broken else {})}


def numbers_clamped(broken: bool, _: Path) -> Tensors:
    """The mask of sample numbers is cut to 0 and 1 before the forward; right, it is not given at all."""
    made = bare(mask=True)
    if broken:
        return {**made, "attention_mask": made["attention_mask"].clip(0, 1)}
    return bare()


def no_text_row(broken: bool, _: Path) -> Tensors:
    made = bare()
    return {**made, "position_ids": made["position_ids"][1:]} if broken else made


def one_row(broken: bool, _: Path) -> Tensors:
    made = bare()
    return {**made, "position_ids": made["position_ids"][0]} if broken else made


def counted_as_text(broken: bool, _: Path) -> Tensors:
    made = pack()
    if broken:
        made["position_ids"] = np.repeat(made["position_ids"][:1], 4, axis=0)
    return made


def numbered_rows(broken: bool, _: Path) -> Tensors:
    """transformers' own `get_rope_index`, given the mask that numbers the samples, or each sample by itself."""
    import torch

    made = pack()
    ids, grid = torch.from_numpy(made["input_ids"]), torch.from_numpy(made["image_grid_thw"])
    network = model.small().model
    more = model.token_types(network.get_rope_index, ids)
    if broken:
        rows = network.get_rope_index(
            ids, image_grid_thw=grid, attention_mask=torch.from_numpy(numbers()[None]), **more
        )[0]
    else:
        cut = [slice(a, b) for a, b in pairwise(made["cu_seq_lens_q"].tolist())]
        rows = torch.cat(
            [
                network.get_rope_index(
                    ids[:, c], image_grid_thw=grid[n : n + 1], **{k: v[:, c] for k, v in more.items()}
                )[0]
                for n, c in enumerate(cut)
            ],
            -1,
        )
    made["position_ids"] = np.concatenate([made["position_ids"][:1], rows.numpy()])
    return made


def one_segment(broken: bool, _: Path) -> Tensors:
    """Rows of text are filled one after the other, and neither mask nor positions say where a sample ends."""
    made = bare()
    keep = made["input_ids"][0] != IMAGE_PAD
    made = {n: made[n][..., keep] for n in ("input_ids", "labels")}
    lengths = [int(np.sum(samples()[n]["ids"] != IMAGE_PAD)) for n in (0, 1)]
    text = np.arange(keep.sum()) if broken else np.concatenate([np.arange(n) for n in lengths])
    return {**made, "position_ids": np.repeat(text[None, None], 4, axis=0)}


def labels_of(change: Callable[[Any, Any], Any]) -> Callable[[bool, Path], Tensors]:
    def made(broken: bool, _: Path) -> Tensors:
        batch = pack()
        if broken:
            batch["labels"] = change(batch["labels"].copy(), batch["input_ids"])
        return batch

    return made


def twice_shifted(labels: Any, ids: Any) -> Any:
    return np.append(labels[:, 2:], [[-100, -100]], axis=1)


def end_is_pad(labels: Any, ids: Any) -> Any:
    return np.where(ids == IM_END, -100, labels)


def prompts_supervised(labels: Any, ids: Any) -> Any:
    made = ids.copy()
    made[:, pack()["cu_seq_lens_q"][:-1]] = -100
    return made


def first_supervised(labels: Any, ids: Any) -> Any:
    at = int(pack()["cu_seq_lens_q"][1])
    labels[:, at] = ids[:, at]
    return labels


def all_masked(labels: Any, ids: Any) -> Any:
    labels[:, int(pack()["cu_seq_lens_q"][1]) :] = -100
    return labels


def end_of_the_last(labels: Any, ids: Any) -> Any:
    """The end of turn of the sample that was cut is masked by the truncation itself."""
    at = int(np.flatnonzero(labels[0] == IM_END)[-1])
    labels[0, at] = -100
    return labels


def doubled_opening(broken: bool, _: Path) -> Tensors:
    """A template writes the opening token, and the tokenizer puts another before it."""
    ids, labels = ([*samples()[n][name]] for n, name in ((0, "ids"), (0, "labels")))
    if broken:
        ids, labels = [ids[0], *ids], [-100, *labels]
    rows = mrope.positions(np.array(ids), PROFILE, images=[samples()[0]["grid"]])
    made = {
        "input_ids": np.array([ids]),
        "labels": np.array([labels]),
        "image_grid_thw": np.array([samples()[0]["grid"]]),
    }
    return {**made, "position_ids": rows[:, None], "attention_mask": np.ones((1, len(ids)), np.int64)}


def first_grid_only(broken: bool, _: Path) -> Tensors:
    made = pack()
    return {**made, "image_grid_thw": made["image_grid_thw"][:1]} if broken else made


def one_pad_more(broken: bool, _: Path) -> Tensors:
    made = pack()
    if broken:
        at = ends()[1] - 3
        made["input_ids"][0, at], made["labels"][0, at] = IMAGE_PAD, -100
    return made


def types_not_cut(broken: bool, _: Path) -> Tensors:
    """`token_type_ids` of a sample that was cut on the left are those of its beginning."""
    made = doubled_opening(False, _)
    types = (made["input_ids"] == IMAGE_PAD).astype(np.int64)
    return {**made, "token_type_ids": np.roll(types, 2) if broken else types}


def padded_as_real(broken: bool, _: Path) -> Tensors:
    """Megatron's places are filled up to eights; the bounds of the places are given as those of the samples."""
    ids, labels, bounds, places = [], [], [0], [0]
    for s in samples()[:2]:
        room = -(-len(s["ids"]) // 8) * 8 + 8
        ids += [*s["ids"], *[PROFILE.pad] * (room - len(s["ids"]))]
        labels += [*s["labels"][1:], *[-100] * (room - len(s["ids"]) + 1)]
        bounds.append(bounds[-1] + len(s["ids"]))
        places.append(places[-1] + room)
    grid = np.array([s["grid"] for s in samples()[:2]])
    rows = mrope.positions(np.array(ids), PROFILE, places, images=grid)
    real, padded = np.array(places if broken else bounds, np.int32), np.array(places, np.int32)
    longest: Any = np.int64(np.diff(padded).max())
    params: Tensors = {
        "cu_seqlens_q": real,
        "cu_seqlens_kv": real,
        "cu_seqlens_q_padded": padded,
        "cu_seqlens_kv_padded": padded,
    }
    params |= {"max_seqlen_q": longest, "max_seqlen_kv": longest}
    made = {"tokens": np.array([ids]), "labels": np.array([labels]), "position_ids": rows[:, None]}
    made["loss_mask"] = (made["labels"] != -100).astype(np.float32)
    return {**made, "image_grid_thw": grid, **{f"packed_seq_params.{n}": a for n, a in params.items()}}


def packed(numbers: tuple[int, ...], room: int, *, flushed: bool) -> list[int]:
    """The samples of all packs of at most `room` tokens, filled in order; the last pack waits for a sample that does
    not fit."""
    given: list[int] = []
    waiting: list[int] = []
    for n in numbers:
        if sum(len(samples()[m]["ids"]) for m in (*waiting, n)) > room:
            given, waiting = [*given, *waiting], []
        waiting.append(n)
    return [*given, *waiting] if flushed else given


def never_flushed(broken: bool, _: Path) -> Tensors:
    return pack(tuple(packed((0, 1, 2), 80, flushed=not broken)))


def repeated_otherwise(broken: bool, _: Path) -> Tensors:
    """Of two prompts, each twice, tokens are repeated one by one and pictures all together."""
    made = pack((0, 0, 3, 3))
    if broken:
        a, b = samples()[0]["pixels"], samples()[3]["pixels"]
        made["pixel_values"] = np.concatenate([a, b, a, b]).astype(np.float32)
    return made


ALIGNED, POSITIONS, LABELS, VISION = (
    f"packing.{n}" for n in ("fields_aligned", "positions_restart", "no_cross_boundary_label", "vision_in_order")
)
COVER, PREFIX = "template.labels_cover_assistant", "template.prompt_is_prefix"
batch = partial(Pair, tool="batch", asked=asked)
PAIRS = [
    batch(
        "a mask of ones beside packed positions turns the isolation off",
        "huggingface/transformers#46634",
        claim=ALIGNED,
        says="attention_mask",
        made=mask_of_ones,
        shown=rounded,
    ),
    batch(
        "the mask of sample numbers is cut to 0 and 1",
        "allenai/open-instruct#669",
        claim=ALIGNED,
        says="attention_mask",
        made=numbers_clamped,
        shown=rounded,
    ),
    batch(
        "mRoPE rows without the text row: no sample ends",
        "axolotl-ai-cloud/axolotl#3817",
        claim=ALIGNED,
        says="see each other|position_ids",
        made=no_text_row,
        shown=rounded,
    ),
    batch(
        "positions of one row where mRoPE needs three",
        "NVIDIA-NeMo/Automodel#2172",
        claim=POSITIONS,
        says="one row",
        made=one_row,
        shown=rounded,
    ),
    batch(
        "vision tokens count as text in a pack",
        "areal-project/AReaL#217",
        claim=POSITIONS,
        says="row of position_ids",
        made=counted_as_text,
        shown=rounded,
    ),
    batch(
        "mRoPE is computed with the mask that numbers the samples",
        "hiyouga/LlamaFactory#7754",
        claim=POSITIONS,
        says="position_ids|rows",
        made=numbered_rows,
        shown=rounded,
    ),
    batch(
        "nothing ends a sample in a row that is filled up",
        "huggingface/trl#784",
        claim=PREFIX,
        says="second time",
        made=one_segment,
        shown=rounded,
    ),
    batch(
        "labels are shifted twice",
        "huggingface/transformers#47394",
        claim=LABELS,
        says="label",
        made=labels_of(twice_shifted),
        shown=targets,
    ),
    batch(
        "the end of turn is masked as the padding that it is too",
        "mlabonne/llm-course#33",
        claim=COVER,
        says="end",
        made=labels_of(end_is_pad),
        shown=targets,
    ),
    batch(
        "truncation masks the end of turn",
        "meta-pytorch/torchtune#2967",
        claim=COVER,
        says="end",
        made=labels_of(end_of_the_last),
        shown=targets,
    ),
    batch(
        "prompts are supervised, pictures included",
        "MervinPraison/PraisonAI#4358",
        claim=COVER,
        says="image",
        made=labels_of(prompts_supervised),
        shown=targets,
    ),
    batch(
        "a sample's last token is asked for the next sample's first",
        "meta-pytorch/torchtune#1177",
        claim=LABELS,
        says="first token of a segment",
        made=labels_of(first_supervised),
        shown=targets,
    ),
    batch(
        "a sample's answer is masked whole, for its header was not found",
        "huggingface/trl#1550",
        claim=COVER,
        says="answer|supervised",
        made=labels_of(all_masked),
        shown=targets,
    ),
    batch(
        "the opening token stands twice",
        "OpenRLHF/OpenRLHF#393",
        claim=PREFIX,
        says="opening token",
        made=doubled_opening,
        shown=lambda b: b["input_ids"][0, :2].tolist(),
    ),
    batch(
        "only the first sample's grid is kept",
        "Blaizzy/mlx-vlm#1744",
        claim=VISION,
        says="image",
        made=first_grid_only,
        shown=pictures,
    ),
    batch(
        "a placeholder more than the pictures fill",
        "verl-project/verl#3469",
        claim=VISION,
        says="image",
        made=one_pad_more,
        shown=pictures,
    ),
    batch(
        "token types are not cut with the tokens",
        "modelscope/ms-swift#10176",
        claim=VISION,
        says="token_type_ids",
        made=types_not_cut,
        shown=lambda b: b["token_type_ids"].tolist(),
    ),
    batch(
        "the bounds of filled places are given as the samples' own",
        "NVIDIA-NeMo/RL#4070",
        claim="packing.cu_seqlens",
        says="cu_seqlens_q|cu_seq_lens",
        made=padded_as_real,
        shown=lambda b: b["packed_seq_params.cu_seqlens_q"].tolist(),
    ),
    batch(
        "the last pack is never emitted",
        "NVIDIA/Megatron-Energon#115",
        claim="packing.each_once",
        says="is lost",
        made=never_flushed,
        asked=against((0, 1, 2)),
        shown=lambda b: b["input_ids"].size,
    ),
    batch(
        "pictures are repeated in another order than their prompts",
        "vllm-project/vllm-omni#7766",
        claim=VISION,
        says="pixel row",
        made=repeated_otherwise,
        asked=against((0, 0, 3, 3)),
        shown=lambda b: b["pixel_values"].mean(axis=1).tolist(),
    ),
]
