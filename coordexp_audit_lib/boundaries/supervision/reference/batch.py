"""The reference's batch: prompts and targets as rows of a real small Qwen3-VL, padded on the right, images included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.supervision.reference.losses import measured
from coordexp_audit_lib.kit.model import FEW, hashed, token_types
from coordexp_audit_lib.kit.picture import MULTIPLE, patches, pixels
from coordexp_audit_lib.kit.tokenizer import ENDOFTEXT, IMAGE_PAD, VISION_END, VISION_START, encode

PROMPT = "Locate every object."


class Rows(msgspec.Struct, frozen=True):
    """ids [B, L] and what the forward takes besides; prompt: length of the prompt, the same in each row."""

    ids: Any
    extras: dict[str, Any]
    prompt: int


def rows(targets: Sequence[list[int]], image: int) -> Rows:
    """Put each target behind the prompt; `image` is the side of a generated picture in pixels, 0 for none."""
    import torch

    model = hashed()
    merged = (image // MULTIPLE) ** 2
    picture = [VISION_START, *[IMAGE_PAD] * merged, VISION_END] if image else []
    prompt = encode("<|im_start|>user\n") + picture + encode(f"{PROMPT}<|im_end|>\n<|im_start|>assistant\n")
    length = len(prompt) + max(map(len, targets), default=0)
    ids = torch.full((len(targets), length), ENDOFTEXT)
    mask = torch.zeros_like(ids)
    for b, target in enumerate(targets):
        ids[b, : len(prompt) + len(target)] = torch.tensor(prompt + target)
        mask[b, : len(prompt) + len(target)] = 1
    extras: dict[str, Any] = {"attention_mask": mask}
    if image:
        grids, values = zip(*(patches(pixels(n, image, image)) for n in range(len(targets))), strict=True)
        extras["image_grid_thw"] = torch.tensor([list(g) for g in grids])
        extras["pixel_values"] = torch.cat([torch.as_tensor(v).float() / 127.5 - 1 for v in values])
    extras["position_ids"], _ = _rope(model.model.get_rope_index, ids, extras.get("image_grid_thw"), mask)
    return Rows(ids, extras, len(prompt))


def _rope(function: Any, ids: Any, grid: Any, mask: Any) -> Any:
    """The three mRoPE rows [3, B, L] and how far they lag behind, as the model's own function computes them."""
    told = {"image_grid_thw": grid, "attention_mask": mask, **token_types(function, ids)}
    return function(input_ids=ids, **told)


def norms(grads: Any) -> tuple[list[float], list[float]]:
    """Gradient norms of rows [N, V] on the ordinary and on the coordinate columns."""
    plain, coord = grads[:, :FEW].norm(dim=-1), grads[:, FEW:].norm(dim=-1)
    return [measured(v) for v in plain.tolist()], [measured(v) for v in coord.tolist()]
