"""A right batch of two chat samples with a picture each, as the collator of a framework hands them over.

The oracle of attention and positions is a real small Qwen3-VL: what it computes at the end of the last sample, which
for a right batch is what it computes of that sample alone. That of labels: which token predicts which.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from coordexp_audit_lib.boundaries.packing.artifact import Unpacked
from coordexp_audit_lib.kit import chat, model, mrope, picture
from coordexp_audit_lib.kit.profile import BUILT_IN, IMAGE_PAD
from coordexp_audit_lib.kit.tokenizer import encode
from coordexp_audit_lib.run.batches import audit_batch
from tests.silent_bugs.pairs import told

PROFILE = BUILT_IN["qwen3_vl"]
(IM_END,) = encode("<|im_end|>")
Tensors = dict[str, Any]
SIZES = ((64, 64), (96, 64), (64, 128), (64, 64))
ANSWERS = ("a red cup", "two cats, one of them asleep", "nothing that I know", "two trees")


@lru_cache(maxsize=1)
def samples() -> list[Tensors]:
    made = []
    for number, ((width, height), answer) in enumerate(zip(SIZES, ANSWERS, strict=True)):
        grid, rows = picture.patches(picture.pixels(number, width, height))
        turns = [("system", "Be brief."), ("user", "<image>What is there?"), ("assistant", answer)]
        ids, labels = chat.render(turns, [grid])
        made.append({"ids": np.array(ids), "labels": np.array(labels), "grid": grid, "pixels": rows / 127.5 - 1})
    return made


def pack(numbers: tuple[int, ...] = (0, 1)) -> Tensors:
    """As ms-swift packs: four rows of positions and the kernel's bounds."""
    parts = [samples()[n] for n in numbers]
    ids, labels = (np.concatenate([p[name] for p in parts]) for name in ("ids", "labels"))
    bounds = np.cumsum([0, *(len(p["ids"]) for p in parts)]).astype(np.int32)
    grid = np.array([p["grid"] for p in parts])
    text = np.concatenate([np.arange(b - a) for a, b in pairwise(bounds)])
    rows = mrope.positions(ids, PROFILE, bounds.tolist(), images=grid)
    longest = np.int32(np.diff(bounds).max())
    return {
        **{"input_ids": ids[None], "labels": labels[None], "position_ids": np.vstack([text, rows])[:, None]},
        **{"cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds, "max_length_q": longest, "max_length_k": longest},
        **{"image_grid_thw": grid, "pixel_values": np.concatenate([p["pixels"] for p in parts]).astype(np.float32)},
    }


def bare(*, mask: bool = False) -> Tensors:
    """The pack without the kernel's bounds: positions tell the samples, or a mask that numbers them."""
    made = {n: a for n, a in pack().items() if not n.startswith(("cu_", "max_"))}
    return {**made, "attention_mask": numbers()[None]} if mask else made


def numbers() -> Any:
    return np.repeat([1, 2], [len(samples()[n]["ids"]) for n in (0, 1)])


def ends() -> list[int]:
    return [int(b) - 1 for b in pack()["cu_seq_lens_q"][1:]]


def computed(batch: Tensors) -> Any:
    """What the model's text part computes at the last token."""
    import torch

    given = {n: torch.from_numpy(np.ascontiguousarray(a)) for n, a in batch.items() if np.ndim(a)}
    kept = ("input_ids", "position_ids", "attention_mask", "image_grid_thw", "pixel_values")
    network = model.small().model
    more = model.token_types(network.forward, given["input_ids"])
    with torch.no_grad(), model.one_thread():
        out = network(**{n: given[n] for n in kept if n in given}, **more, use_cache=False)
    return out.last_hidden_state[0, -1].numpy()


def rounded(batch: Tensors) -> list[float]:
    out: list[float] = np.round(computed(batch).ravel(), 2).tolist()
    return out


def targets(batch: Tensors) -> list[tuple[int, int, int]]:
    """(row, place, token) of all that the loss asks for, by a model that shifts."""
    labels = np.atleast_2d(batch["labels"])
    return [(r, p, int(labels[r, p])) for r, p in np.argwhere(labels >= 0) if p]


def pictures(batch: Tensors) -> list[Any]:
    """Of each sample: how many tokens its pictures fill in the text, and of what grid they are."""
    return [int((batch["input_ids"] == IMAGE_PAD).sum()), np.asarray(batch["image_grid_thw"]).tolist()]


def against(numbers: tuple[int, ...]) -> Callable[[Tensors], list[str]]:
    """`batch --samples`: the batch is made of these."""
    parts = [samples()[n] for n in numbers]
    given = [
        Unpacked(p["ids"], p["labels"], np.array([p["grid"]]), p["pixels"].astype(np.float32), number=n)
        for n, p in enumerate(parts)
    ]
    return lambda batch: told(audit_batch(batch, profile=PROFILE, samples=given).findings)


def asked(batch: Tensors) -> list[str]:
    return told(audit_batch(batch, profile=PROFILE).findings)
