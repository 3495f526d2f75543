"""What segments of a pack must be in a real model: isolated, and of the loss that they have unpacked."""

from __future__ import annotations

import math
from collections.abc import Iterator

from coordexp_audit_lib.boundaries.packing.surfaces import Attention, Pack
from coordexp_audit_lib.core.problem import Problem

# Of float32, at logits of up to ten and losses of about ten: rounding is about 2e-6, a fault 1 and more.
TOLERANCE = 1e-5
STEP_TOLERANCE = 1e-3  # of the loss of a step, which is told with four digits
NEGLIGIBLE = "negligible"
MISPLACED: dict[int | None, str] = {0: "the same", 2: "the next but one"}  # by how far the labels are shifted


def isolated(pack: Pack, attention: Attention) -> Iterator[Problem]:
    """Logits are those of the unpacked sample, up to rounding; no loss reaches another segment's embeddings, at all."""
    why = cause(pack, attention)
    for i, difference in enumerate(pack.differences):
        if not negligible(difference, pack.largest_logit):
            text = f"logits of segment {i} in the pack are not its unpacked logits: max |Δ| is {shown(difference)}{why}"
            yield Problem(text, expected="0 up to rounding", actual=shown(difference))
    for i, row in enumerate(pack.influence):
        reached = [j for j, value in enumerate(row) if j != i and value != 0]
        if reached:
            most = shown(max(row[j] for j in reached))
            text = f"the loss of segment {i} has a gradient at the embeddings of segment {reached[0]}: {most}{why}"
            yield Problem(text, expected=0, actual={str(j): shown(row[j]) for j in reached})
        if not row[i] > 0:
            text = f"the loss of segment {i} does not reach its own embeddings"
            yield Problem(text, expected="above 0", actual=shown(row[i]))


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
    """The packed loss is the mean over the samples' own losses, each weighted by the tokens that it supervises; and
    these losses are of the next token, where it can be told."""
    supervised = sum(a.supervised for a in pack.unpacked)
    if pack.supervised != supervised:
        text = "the pack supervises another number of tokens than its samples one by one"
        yield Problem(text, expected=supervised, actual=pack.supervised)
    if not supervised:
        yield Problem("the samples supervise no token", expected="at least 1", actual=0)
        return
    told = {MISPLACED.get(a.shift) for a in pack.unpacked if a.supervised}
    if len(told) == 1 and (token := told.pop()):
        text = f"the loss compares logits with labels of {token} token: it is not shifted by one"
        yield Problem(text, expected="logits[t] with labels[t + 1]", actual=f"labels of {token} token")
    if not negligible(relative_gap(pack)):
        text = "the packed loss is not the token-weighted loss of the samples one by one"
        yield Problem(text, expected=float(f"{weighted(pack):.6g}"), actual=float(f"{pack.loss:.6g}"))


def weighted(pack: Pack) -> float:
    """Σ supervised · loss / Σ supervised over the unpacked samples."""
    total = sum(a.supervised for a in pack.unpacked)
    return sum(a.supervised * a.loss for a in pack.unpacked) / total if total else math.nan


def relative_gap(pack: Pack) -> float:
    """|packed − weighted| / weighted."""
    return abs(pack.loss - weighted(pack)) / max(abs(weighted(pack)), 1e-12)


def negligible(value: float, scale: float = 1.0) -> bool:
    """Whether a difference at numbers as large as `scale` is rounding; NaN is not."""
    return value <= TOLERANCE * max(1.0, scale)


def shown(value: float) -> str:
    """A measured number as a report says it: whether it is zero, where it is small; one digit else."""
    if abs(value) < TOLERANCE:
        return "exactly 0" if value == 0 else "not exactly 0"
    return f"{value:.1g}" if math.isfinite(value) else repr(value)


def difference_shown(value: float, scale: float = 1.0) -> str:
    """A difference as a report says it: one word for all that is rounding, be it zero or not, for it differs from
    machine to machine; one digit else."""
    return NEGLIGIBLE if negligible(value, scale) else shown(value)
