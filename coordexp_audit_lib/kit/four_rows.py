"""What a small Qwen3-VL does with position ids: mRoPE of a text with an image, and packed segments under four rows.

Standard library only at import time.
"""

from __future__ import annotations

from typing import Any

from coordexp_audit_lib.kit.model import token_types
from coordexp_audit_lib.kit.profile import QWEN3_VL
from coordexp_audit_lib.kit.tokenizer import IMAGE_PAD, VISION_END, VISION_START

TOLERANCE = 1e-4


def facts(model: Any, grid: list[int], before: int, after: int, lengths: list[int]) -> dict[str, Any]:
    """Ask a float32 `Qwen3VLForConditionalGeneration` on the CPU.

    Args:
        grid: (t, h, w) of one image in patches. before, after: text tokens around it. lengths: of packed text segments.

    Returns:
        rope: [3][L], what `get_rope_index` gives. delta: its second result. shape: of the logits of the pack.
        isolated: whether the last segment's logits in a pack under [4, 1, L] positions are those that it has unpacked.
        blind: whether other tokens in the first segment leave them as they are.
    """
    import torch

    merged = QWEN3_VL.merged(grid)
    text = list(range(100, 100 + before + after))
    ids = [*text[:before], VISION_START, *[IMAGE_PAD] * merged, VISION_END, *text[before:]]
    row, rows = torch.tensor([ids]), model.model.get_rope_index
    told = {"image_grid_thw": torch.tensor([grid]), "attention_mask": torch.ones_like(row), **token_types(rows, row)}
    rope, delta = rows(input_ids=row, **told)
    tokens, size, mode = _tokens(lengths, 0), lengths[-1], model.training
    model.eval()
    try:
        with torch.no_grad():
            whole = _logits(model, tokens, lengths)
            unpacked = _logits(model, tokens[-size:], lengths[-1:])
            other = _logits(model, [*_tokens(lengths, 7)[:-size], *tokens[-size:]], lengths)
    finally:
        model.train(mode)
    last = whole[0, -size:]
    return {
        "rope": rope[:, 0].tolist(),
        "delta": int(delta.flatten()[0]),
        "shape": list(whole.shape),
        "isolated": bool((last - unpacked[0]).abs().max() < TOLERANCE),
        "blind": bool((last - other[0, -size:]).abs().max() < TOLERANCE),
    }


def _tokens(lengths: list[int], shift: int) -> list[int]:
    return [200 + (i * 17 + shift) % 900 for i in range(sum(lengths))]


def _logits(model: Any, ids: list[int], lengths: list[int]) -> Any:
    import torch

    row = torch.cat([torch.arange(n) for n in lengths])
    return model(input_ids=torch.tensor([ids]), position_ids=row.expand(4, 1, -1), use_cache=False).logits
