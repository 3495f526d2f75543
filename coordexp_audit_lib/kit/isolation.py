"""Which calls of a real model keep packed samples apart? Measured on the installed transformers, call by call.

Two samples lie in one row. A call keeps them apart if other tokens and another picture in the first move nothing in the
second: neither its logits nor any parameter's gradient of its loss. It is right if, beyond that, the logits, the loss
and every parameter's gradient of the pack are those of the samples unpacked. What counts as rounding is measured too:
what one last bit of the inputs (weights, buffers, pixels) does to the same numbers. Standard library only at import
time.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from coordexp_audit_lib.kit import model as models
from coordexp_audit_lib.kit import tiny, varlen
from coordexp_audit_lib.kit.profile import IGNORE_INDEX
from coordexp_audit_lib.kit.tiny_pack import CONTENTS, MASKS, POSITIONS, Row, arguments, pack

# `varlen` is transformers' flash-attention code above the stand-in kernel; with `varlen_told` the call says where the
# samples begin (`cu_seq_lens_q` and its companions), with `varlen` transformers finds that by itself or not.
TOLD = "varlen_told"
ATTENTIONS = ("eager", "sdpa", "varlen", TOLD, "flex")
CACHES = (False, True)

APART, OTHER, MIXED, REFUSED = "apart", "other", "mixed", "refused"
ROUNDING = 16  # times what one last bit of every input does: a pack adds its numbers up in another order
DRAWS = 4


@dataclass(frozen=True, order=True)
class Call:
    """How a model is called with a pack: its family of `tiny.FAMILIES`, what the samples hold (`CONTENTS`), the
    attention, the kind of `attention_mask` (`MASKS`) and of `position_ids` (`POSITIONS`), and `use_cache`."""

    family: str
    content: str
    attention: str
    mask: str
    positions: str
    cache: bool


@dataclass(frozen=True)
class Outcome:
    """verdict: `apart` (right), `other` (apart, but not what the samples are unpacked), `mixed` (the samples see each
    other), `refused` (it raises `error`). moved: how far the first sample moves the second, and differs: how far the
    pack is from the samples unpacked, both as multiples of what counts as rounding."""

    verdict: str
    moved: float = 0.0
    differs: float = 0.0
    error: str = ""


def calls() -> Iterator[Call]:
    """Every call of the matrix, in order."""
    axes = (tiny.FAMILIES, CONTENTS, ATTENTIONS, MASKS, POSITIONS, CACHES)
    yield from itertools.starmap(Call, itertools.product(*axes))


def measure(call: Call) -> Outcome:
    """What the installed transformers makes of that call (a tenth of a second; the first call of a family seconds)."""
    with models.one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a release may warn of what it does; a warning is no refusal
        unpacked, rounding = _unpacked(call.family, call.content)
        model = tiny.kept(call.family)
        with varlen.attending(model, "varlen" if call.attention == TOLD else call.attention):
            try:
                packed, moved = (_run(model, pack(call.family, call.content, first), call) for first in (0, 1))
            except Exception as error:  # whatever it raises is an answer
                return Outcome(REFUSED, error=type(error).__name__)
    crossed = packed.second.apart_from(moved.second, rounding.second)
    parts = ((packed.second, unpacked.second, rounding.second), (packed.whole, unpacked.whole, rounding.whole))
    differs = max(mine.apart_from(other, unit) for mine, other, unit in parts)
    return Outcome(MIXED if crossed > 1 else OTHER if differs > 1 else APART, crossed, differs)


@dataclass(frozen=True)
class Numbers:
    """Tensors by name: logits, a summed loss, and every parameter's gradient of it."""

    by_name: Mapping[str, Any]

    def apart_from(self, other: Numbers, unit: Numbers) -> float:
        """The largest |difference| of a tensor in its unit; infinite where a difference is no number."""
        ratios = [
            float((mine.detach() - other.by_name[name].detach()).abs().max() / unit.by_name[name].detach())
            for name, mine in self.by_name.items()
        ]
        return max(math.inf if math.isnan(r) else r for r in ratios)


@dataclass(frozen=True)
class Ran:
    """whole: of all samples of a row. second: of its last sample alone."""

    whole: Numbers
    second: Numbers


def _run(model: Any, row: Row, call: Call) -> Ran:
    """One forward and two backward passes. The loss of the whole is the model's own, times the supervised tokens."""
    import torch

    model.model.rope_deltas = None  # nothing is left of another call
    told = call.attention == TOLD
    answer = model(**arguments(model, row, mask=call.mask, positions=call.positions, cache=call.cache, told=told))
    logits, start = answer.logits[0], row.bounds[-2]
    supervised = row.labels[start + 1 :]
    own = torch.nn.functional.cross_entropy(logits[start:-1], supervised, reduction="sum", ignore_index=IGNORE_INDEX)
    whole = answer.loss * int((row.labels != IGNORE_INDEX).sum())
    return Ran(_numbers(model, logits, whole), _numbers(model, logits[start:], own))


def _numbers(model: Any, logits: Any, loss: Any) -> Numbers:
    import torch

    names, weights = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, weights, retain_graph=True, materialize_grads=True)
    gradients = dict(zip(names, found, strict=True))
    return Numbers({**gradients, "logits": logits.detach(), "loss": loss.detach()})


@lru_cache(maxsize=4)
def _unpacked(family: str, content: str) -> tuple[Ran, Ran]:
    """The samples by themselves, as inference runs them, added up; and what counts as rounding in each number."""
    model, row = tiny.kept(family), pack(family, content)
    call = Call(family, content, "eager", "ones", "none", False)
    with varlen.attending(model, "eager"):
        exact = _alone(model, row, call)
        nudged = []
        for draw in range(DRAWS):
            with last_bits(model, draw):
                nudged.append(_alone(model, _nudged(row, draw), call))
    whole = _rounding(exact.whole, [n.whole for n in nudged])
    return exact, Ran(whole, _rounding(exact.second, [n.second for n in nudged]))


def _alone(model: Any, row: Row, call: Call) -> Ran:
    """Each sample by itself: logits one after the other, losses and gradients added."""
    import torch

    first, second = (_run(model, row.only(i), call).whole.by_name for i in (0, 1))
    whole = {n: torch.cat([first[n], second[n]]) if n == "logits" else first[n] + second[n] for n in first}
    return Ran(Numbers(whole), Numbers(second))


def _rounding(exact: Numbers, nudged: Sequence[Numbers]) -> Numbers:
    """A unit for each tensor, from how far the nudged ones lie; never less than a last bit of its largest entry."""
    import torch

    made = {}
    for name, value in exact.by_name.items():
        limits = torch.finfo(value.dtype)
        moved = [(n.by_name[name] - value).abs().max() for n in nudged]
        made[name] = ROUNDING * torch.stack([*moved, value.abs().max() * limits.eps]).max().clamp(min=limits.tiny)
    return Numbers(made)


def _nudged(row: Row, draw: int) -> Row:
    return row if row.pixels is None else replace(row, pixels=_last_bit(row.pixels, draw))


@contextmanager
def last_bits(model: Any, draw: int) -> Iterator[None]:
    """The model with the last bit of each weight and buffer moved up or down at random; then as it was."""
    import torch

    tensors = [t for t in itertools.chain(model.parameters(), model.buffers()) if t.is_floating_point()]
    before = [t.detach().clone() for t in tensors]
    with torch.no_grad():
        for i, t in enumerate(tensors):
            t.copy_(_last_bit(t, 1000 * draw + i))
    try:
        yield
    finally:
        with torch.no_grad():
            for t, value in zip(tensors, before, strict=True):
                t.copy_(value)


def _last_bit(tensor: Any, seed: int) -> Any:
    import torch

    signs = torch.randint(0, 2, tensor.shape, generator=torch.Generator().manual_seed(seed)) * 2.0 - 1.0
    return torch.nextafter(tensor.detach(), (signs * torch.inf).to(tensor.dtype))
