"""On a small real Qwen3-VL, a segment's logits in the pack equal its unpacked logits, and the gradient of one
segment's loss with respect to another segment's embeddings is exactly zero.

The tensors of a pack may all be right, and the model may still read the boundaries from something else: from a mask,
from three position rows instead of four, from nothing under a cache. Then each sample is trained with other samples as
its context, and at inference that context is gone.

Example: with `[4, 1, L]` position_ids and no mask the largest gradient across segments is exactly 0; with `use_cache`
it is above 1."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.packing.artifact import PackedRow
from coordexp_audit_lib.boundaries.packing.artifact.isolation import ModelCall
from coordexp_audit_lib.boundaries.packing.cases import each_forward
from coordexp_audit_lib.boundaries.packing.faults import calls
from coordexp_audit_lib.boundaries.packing.predicates import calls as model_calls
from coordexp_audit_lib.boundaries.packing.predicates import isolation
from coordexp_audit_lib.boundaries.packing.surfaces import FORWARD, Pack
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.finding import Violation


@claim(
    severity="P0",
    kind="B",
    remedy="Give the model the text row first of four position_ids rows, no attention_mask, no cache, and cu_seq_lens.",
)
def segments_isolated(ctx: Context) -> Iterator[Violation]:
    yield from each_forward(ctx, isolation.isolated, _measured, _misbounded)


def _misbounded(label: str, why: str) -> Iterator[Violation]:
    """A kernel that is called so computes attention over other segments than the samples, or leaves out tokens."""
    text = f"{label}: the kernel is called with bounds that are not the samples': {why}"
    yield Violation(text, label, "the bounds of the samples", why)


def _measured(packs: list[Pack]) -> str:
    """max |Δlogit| between pack and unpacked sample, and the largest cross-segment gradient, over all packs."""
    crossed = [v for p in packs for i, row in enumerate(p.influence) for j, v in enumerate(row) if i != j]
    largest = max(p.largest_logit for p in packs)
    difference = isolation.difference_shown(max(d for p in packs for d in p.differences), largest)
    gradient = isolation.shown(max(crossed)) if crossed else "no pair"
    pairs = f"max |gradient across segments| {gradient} over {len(crossed)} pairs"
    return f"max |Δlogit| {difference} at logits up to {largest:.0f}; {pairs}"


segments_isolated.on(ModelCall, model_calls.kept_apart)
segments_isolated.not_on(PackedRow, "needs the model and the trainer's call of it: run the audit on the pipeline")

# What breaks isolation changes the loss as well.
for _name, _how, _summary in (
    ("three_rows", {"rows": 3}, "the model gets the three mRoPE rows without the text row"),
    ("one_row", {"rows": 1}, "the model gets position_ids of shape [1, L]"),
    ("never_restarts", {"restarts": False}, "the text row counts through the pack, so that segments see each other"),
    ("counts_through", {"rows": 1, "restarts": False}, "position_ids are 0 … L − 1 in one row"),
    ("with_cache", {"use_cache": True}, "the model is called with use_cache"),
    ("mask_of_ones", {"ones_mask": True}, "the model gets an attention mask of ones"),
    ("kernel_unbounded", {"bounded": False}, "cu_seq_lens bound the pack and no sample"),
):
    fault(segments_isolated, _name, FORWARD, _summary, also=("packing.loss_equivalent",))(calls(**_how))
