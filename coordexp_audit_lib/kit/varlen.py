"""Attention over a packed row as a variable-length kernel computes it, on a CPU: no segment sees another.

Packed training runs on kernels that are told the segments by `cu_seqlens` and need a GPU. This module stands for such
a kernel behind `transformers`' own flash-attention code: all that decides which boundaries the kernel is given is the
real thing. Standard library only at import time.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import logging
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from typing import Any

from coordexp_audit_lib.kit import flex
from coordexp_audit_lib.kit.stand_ins import replaced, used

NAME = "flash_attention_2"
STANDS_FOR, WHAT = "flash-attn", "attention within the segments that transformers' own code tells, computed on the CPU"
_KEPT = ("_flash_fn", "_flash_varlen_fn", "_pad_fn", "_unpad_fn", "_process_flash_kwargs_fn")
_LOADED = "_loaded_implementation"


class Misbounded(ValueError):
    """The kernel is called with bounds that do not fit each other or the row; a real one then computes something else,
    and says nothing."""


def varlen(
    q: Any,
    k: Any,
    v: Any,
    *,
    cu_seqlens_q: Any,
    cu_seqlens_k: Any,
    max_seqlen_q: Any,
    max_seqlen_k: Any,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
) -> Any:
    """Attention within segments.

    q: [L, heads, width]; k, v: [L, key heads, width]. cu_seqlens_*: int32 [S+1], from 0 to L.

    Raises:
        Misbounded: the bounds are not int32, do not run from 0 to L, or `max_seqlen` is shorter than a segment.
    """
    import torch

    used(STANDS_FOR, WHAT, False)
    bounds = []
    for cu, longest, rows in ((cu_seqlens_q, max_seqlen_q, len(q)), (cu_seqlens_k, max_seqlen_k, len(k))):
        if cu.dtype != torch.int32:
            raise Misbounded(f"cu_seqlens are {cu.dtype}, the kernel reads int32")
        ends = cu.tolist()
        if ends[0] != 0 or ends[-1] != rows:
            raise Misbounded(f"cu_seqlens run from {ends[0]} to {ends[-1]}, the row has {rows} tokens")
        sizes = [b - a for a, b in pairwise(ends)]
        if min(sizes) < 0:
            raise Misbounded(f"cu_seqlens fall by {-min(sizes)}")
        if max(sizes) > int(longest):
            raise Misbounded(
                f"cu_seqlens bound {len(sizes)} segments of up to {max(sizes)} tokens, and max_seqlen is {int(longest)}"
            )
        bounds.append(ends)
    out = [
        _attend(q[a:b], k[c:d], v[c:d], dropout=dropout_p, scale=softmax_scale, causal=causal)
        for (a, b), (c, d) in zip(*map(pairwise, bounds), strict=True)
    ]
    return torch.cat(out)


def dense(
    q: Any, k: Any, v: Any, *, dropout_p: float = 0.0, softmax_scale: float | None = None, causal: bool = False
) -> Any:
    """Attention over whole rows [B, L, heads, width], called where nothing tells transformers of segments."""
    import torch

    used(STANDS_FOR, WHAT, False)
    return torch.stack(
        [_attend(*row, dropout=dropout_p, scale=softmax_scale, causal=causal) for row in zip(q, k, v, strict=True)]
    )


def _attend(q: Any, k: Any, v: Any, *, dropout: float, scale: float | None, causal: bool) -> Any:
    import torch

    q, k, v = (t.transpose(0, 1)[None] for t in (q, k, v))
    groups = q.shape[1] // k.shape[1]
    k, v = (t.repeat_interleave(groups, dim=1) for t in (k, v))
    made = torch.nn.functional.scaled_dot_product_attention(q, k, v, None, dropout, causal, scale=scale)
    return made[0].transpose(0, 1)


@contextmanager
def attending(model: Any, how: str) -> Iterator[None]:
    """Run `model` with `how`: `varlen` for transformers' flash-attention code above these functions, `flex` for its
    flex-attention code above `kit/flex.py`, or the name of another attention."""
    import transformers.modeling_flash_attention_utils as utilities

    configs = [model.config, model.config.text_config, model.config.vision_config]
    before = [c._attn_implementation for c in configs]
    logger = logging.getLogger(utilities.__name__)
    level = logger.level
    kernel = {"varlen": standing_in, "flex": flex.standing_in}.get(how, nullcontext)
    try:
        with kernel():
            logger.setLevel(logging.ERROR)  # it says that float32 is kept as float32
            for c in configs:
                c._attn_implementation = {"varlen": NAME, "flex": flex.NAME}.get(how, how)
            yield
    finally:
        logger.setLevel(level)
        for c, value in zip(configs, before, strict=True):
            c._attn_implementation = value


def importable() -> None:
    """Let a pipeline that calls the kernel by itself import `flash_attn` where it is not installed: from then on these
    functions stand for it in this process. Call it before the pipeline is imported."""
    if importlib.util.find_spec("flash_attn") is not None:
        return
    names = ("flash_attn", "flash_attn.flash_attn_interface", "flash_attn.bert_padding")
    made = {name: types.ModuleType(name) for name in names}
    for name, module in made.items():
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    for module in made.values():
        vars(module).update(flash_attn_varlen_func=_called, flash_attn_func=dense)
    sys.modules.update(made)


def _called(q: Any, k: Any, v: Any, cu_seqlens_q: Any, cu_seqlens_k: Any, *more: Any, **named: Any) -> Any:
    """`flash_attn_varlen_func` as it is called, its first arguments by place or by name."""
    known = ("max_seqlen_q", "max_seqlen_k", "dropout_p", "softmax_scale", "causal")
    given = {**dict(zip(known, more, strict=False)), **named}
    return varlen(q, k, v, cu_seqlens_q=cu_seqlens_q, cu_seqlens_k=cu_seqlens_k, **given)


@contextmanager
def standing_in() -> Iterator[None]:
    """`transformers`' flash-attention code with these functions where it keeps the kernel that it has loaded."""
    import transformers.modeling_flash_attention_utils as flash

    process = flash._lazy_define_process_function(varlen)  # type: ignore[no-untyped-call]
    made = (dense, varlen, flash._pad_input, flash._unpad_input, process)
    values = dict(zip(_KEPT, made, strict=True))
    if hasattr(flash, _LOADED):  # since 5.0: the name under which they were loaded
        values[_LOADED] = NAME
    with replaced(flash, **values):
        yield
