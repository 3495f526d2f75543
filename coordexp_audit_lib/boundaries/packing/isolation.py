"""Segments of a pack in a real model: the question, and what its answer must be."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import msgspec

from coordexp_audit_lib.boundaries.packing.contract import Problem
from coordexp_audit_lib.boundaries.packing.surfaces import Sample
from coordexp_audit_lib.core.surface import surface

Attention = Literal["varlen", "sdpa"]
# Of float32, at logits of up to ten and losses of about ten: rounding is about 2e-6, a fault 1 and more.
TOLERANCE = 1e-5


class ForwardRequest(msgspec.Struct, frozen=True):
    """Pack samples, run each pack and each sample alone through a small Qwen3-VL as the trainer does.

    path: as in `BatchRequest`. attention: `varlen`, a kernel that is told the segments by `cu_seq_lens`, as packed
    training uses; or `sdpa`, which reads them from the text positions. by_token: measure token by token, too.
    """

    samples: list[Sample]
    packing_length: int
    path: str = "dataset"
    attention: Attention = "varlen"
    by_token: bool = False


class Loss(msgspec.Struct, frozen=True):
    """The trainer's loss of one row, and how many of its tokens it teaches (rows of the logits with a gradient)."""

    loss: float
    taught: int


class Pack(msgspec.Struct, frozen=True):
    """What was measured of one pack of S segments.

    keys: the model's keyword arguments that held something. position_rows: of `position_ids`: 4 with a text row, 3
    mRoPE rows, 1 for [B, L], 0 for none. differences: of each segment, max |logit in the pack − logit alone|.
    largest_logit: the largest magnitude. influence: [S][S]; of row i and column j, max |d loss_i / d embedding| over
    segment j. tokens: [L][L] if asked for; of row i and column j, the decade (`parts.influence.decade`) of the gradient
    of the largest logit at token i with respect to the embedding of token j.
    """

    members: list[int]
    lengths: list[int]
    keys: list[str]
    position_rows: int
    use_cache: bool
    differences: list[float]
    largest_logit: float
    influence: list[list[float]]
    loss: float
    taught: int
    alone: list[Loss]
    tokens: list[list[int]] = []


class Forward(msgspec.Struct, frozen=True):
    """sdpa_accepted: whether the pipeline lets packed training run without a variable-length kernel."""

    packs: list[Pack]
    sdpa_accepted: bool


FORWARD = surface("packing.forward", ForwardRequest, Forward, "Packs and samples alone through a small real Qwen3-VL.")


def isolated(pack: Pack, attention: Attention) -> Iterator[Problem]:
    """Logits are those of the sample alone, up to rounding; no loss reaches another segment's embeddings, at all."""
    why = cause(pack, attention)
    for i, difference in enumerate(pack.differences):
        if not difference <= TOLERANCE * max(1.0, pack.largest_logit):
            text = f"logits of segment {i} in the pack are not its logits alone: max |Δ| is {shown(difference)}{why}"
            yield Problem(text, None, "0 up to rounding", shown(difference))
    for i, row in enumerate(pack.influence):
        reached = [j for j, value in enumerate(row) if j != i and value != 0]
        if reached:
            most = shown(max(row[j] for j in reached))
            text = f"the loss of segment {i} has a gradient at the embeddings of segment {reached[0]}: {most}{why}"
            yield Problem(text, None, 0, {str(j): shown(row[j]) for j in reached})
        if not row[i] > 0:
            yield Problem(f"the loss of segment {i} does not reach its own embeddings", None, "above 0", shown(row[i]))


def cause(pack: Pack, attention: Attention) -> str:
    """What in the model's call explains that segments are not isolated; empty where nothing there does."""
    if attention == "varlen":
        missing = [k for k in ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k") if k not in pack.keys]
        return f"; the model gets no {', '.join(missing)}" if missing else "; cu_seq_lens do not bound the samples"
    if "attention_mask" in pack.keys:
        return "; an attention_mask is passed, so that no boundary is read from the positions"
    if pack.use_cache:
        return "; with use_cache no boundary is read from the positions"
    rows = {
        3: "; position_ids have 3 rows, so that the temporal row is taken for the text row",
        1: "; position_ids have one row, which the model takes for text, time, height and width alike",
        0: "; the model gets no position_ids",
    }
    return rows.get(pack.position_rows, "; the text row of position_ids does not restart with each sample")


def loss_equivalent(pack: Pack) -> Iterator[Problem]:
    """The packed loss is the mean over the samples' own losses, each weighted by the tokens that it teaches."""
    taught = sum(a.taught for a in pack.alone)
    if pack.taught != taught:
        text = "the pack teaches another number of tokens than its samples one by one"
        yield Problem(text, None, taught, pack.taught)
    if not taught:
        yield Problem("the samples teach no token", None, "at least 1", 0)
        return
    if not relative_gap(pack) <= TOLERANCE:
        text = "the packed loss is not the token-weighted loss of the samples one by one"
        yield Problem(text, None, float(f"{weighted(pack):.6g}"), float(f"{pack.loss:.6g}"))


def weighted(pack: Pack) -> float:
    """Σ taught · loss / Σ taught over the samples alone."""
    total = sum(a.taught for a in pack.alone)
    return sum(a.taught * a.loss for a in pack.alone) / total if total else math.nan


def relative_gap(pack: Pack) -> float:
    """|packed − weighted| / weighted."""
    return abs(pack.loss - weighted(pack)) / max(abs(weighted(pack)), 1e-12)


def shown(value: float) -> str:
    """A measured number as a report says it: exact zero, the next power of ten above what is rounding, one digit else.

    Rounding differs from machine to machine; so written, the finding doesn't.
    """
    if value == 0:
        return "exactly 0"
    if not math.isfinite(value):
        return repr(value)
    if value < 1e-4:
        return f"below 1e{math.ceil(math.log10(max(value, TOLERANCE / 100)))}"
    return f"{value:.1g}"
