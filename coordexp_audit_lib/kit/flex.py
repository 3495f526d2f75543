"""Flex attention on a CPU, with gradients: torch has its backward pass for GPUs only.

This module stands for torch's kernel behind `transformers`' own flex-attention code: the block mask and the function of
scores that the kernel is given are the real thing. Standard library only at import time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from coordexp_audit_lib.kit.stand_ins import replaced, used

NAME = "flex_attention"
STANDS_FOR, WHAT = "torch's flex-attention kernel", "the same scores and block mask, computed densely"


def attention(
    q: Any,
    k: Any,
    v: Any,
    training: bool = False,
    *,
    score_mod: Any = None,
    block_mask: Any = None,
    scale: float | None = None,
    **settings: Any,
) -> Any:
    """Attention under a function of scores and a block mask, as `torch.nn.attention.flex_attention` computes it.

    q: [B, heads, L, width]; k, v: [B, key heads, L, width]. settings: what concerns speed or is told by the shapes.
    """
    import torch
    from torch.nn.attention.flex_attention import create_mask

    used(STANDS_FOR, WHAT, True)
    k, v = (t.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for t in (k, v))
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if score_mod is not None:
        with _indexing():
            scores = _each(score_mod)(scores, *(torch.arange(n) for n in scores.shape))
    if block_mask is not None:
        batch, heads, queries, keys = scores.shape
        seen = create_mask(block_mask.mask_mod, batch, heads, queries, keys, device="cpu")
        scores = scores.masked_fill(~seen, -torch.inf)
    dead = (scores == -torch.inf).all(-1, keepdim=True)  # a row that sees nothing gives zeros
    return torch.softmax(scores.masked_fill(dead, 0.0), -1).masked_fill(dead, 0.0) @ v


def _each(function: Any) -> Any:
    """A function of one score, its batch, head, query and key, for scores [B, heads, L, L] at once."""
    import torch

    for at in ((0, None, None, None, 0), (0, None, None, 0, None), (0, None, 0, None, None), (0, 0, None, None, None)):
        function = torch.vmap(function, in_dims=at)
    return function


def _indexing() -> Any:
    """As torch's own code calls such functions: an index that is a tensor stays one, be the function mapped or not."""
    from torch._dynamo._trace_wrapped_higher_order_op import TransformGetItemToIndex

    return TransformGetItemToIndex()


@contextmanager
def standing_in() -> Iterator[None]:
    """`transformers`' flex attention above this kernel; block masks are made by torch's own code, uncompiled."""
    import torch
    import transformers.integrations.flex_attention as flex

    with replaced(flex, compile_friendly_flex_attention=attention), torch.compiler.set_stance("force_eager"):
        yield
