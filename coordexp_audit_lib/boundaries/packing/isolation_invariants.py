"""The claims of the packing boundary that only a real model can judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from coordexp_audit_lib.boundaries.packing import cases, isolation
from coordexp_audit_lib.boundaries.packing.contract import Problem
from coordexp_audit_lib.boundaries.packing.isolation import FORWARD, ForwardRequest, Pack, shown
from coordexp_audit_lib.core.claim import Context, invariant
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.finding import Violation

SPEC = "openspec/specs/packing-dataset/spec.md (Multimodal field preservation and position_ids)"
KERNELS = {"varlen": "a variable-length kernel", "sdpa": "sdpa"}
Judge = Callable[[Pack, ForwardRequest], Iterator[Problem]]
Measure = Callable[[list[Pack]], str]


@invariant(
    "packing.segments_isolated",
    boundary="packing",
    severity="P0",
    kind="B",
    claim="On a small real Qwen3-VL, a segment's logits in the pack equal its logits alone, and the gradient of one "
    "segment's loss with respect to another segment's embeddings is exactly zero.",
    remedy="Give the model the text row first of four position_ids rows, no attention_mask, no cache, and cu_seq_lens.",
    spec=SPEC,
)
def segments_isolated(ctx: Context) -> Iterator[Violation]:
    yield from _judged(ctx, lambda pack, request: isolation.isolated(pack, request.attention), _isolation)


@invariant(
    "packing.loss_equivalent",
    boundary="packing",
    severity="P0",
    kind="B",
    claim="The packed loss equals the token-weighted loss of the samples one by one.",
    remedy="Sum the cross-entropy over all supervised tokens of the pack and divide by their number once.",
    spec=SPEC,
)
def loss_equivalent(ctx: Context) -> Iterator[Violation]:
    yield from _judged(ctx, lambda pack, request: isolation.loss_equivalent(pack), _loss)


def _judged(ctx: Context, judge: Judge, measure: Measure) -> Iterator[Violation]:
    """Judge every pack under the kernels that the pipeline lets packed training use; the rest is measured and noted."""
    for name, request in cases.forward_requests():
        label = f"{name}, {KERNELS[request.attention]}"
        try:
            answer = ctx.value(FORWARD, request)
        except SurfaceUnbound as error:
            if request.path == "dataset":
                raise
            ctx.fact(label, f"not measured: {error.what}")
            continue
        refused = request.attention == "sdpa" and not answer.sdpa_accepted
        ctx.fact(label, measure(answer.packs) + ("; the pipeline refuses sdpa for packed training" if refused else ""))
        if refused:
            continue
        if sorted(m for p in answer.packs for m in p.members) != list(range(len(request.samples))):
            yield Violation(
                "the packs do not hold each sample once", label, len(request.samples), [p.members for p in answer.packs]
            )
        for pack in answer.packs:
            ctx.judged()
            case: dict[str, Any] = {"members": pack.members, "lengths": pack.lengths, "attention": request.attention}
            case |= {"keys": pack.keys, "position_rows": pack.position_rows}
            for p in judge(pack, request):
                yield Violation(f"{label}: {p.message}", label, p.expected, p.actual, case)


def _isolation(packs: list[Pack]) -> str:
    """max |Δlogit| between pack and alone, and the largest cross-segment gradient, over all packs."""
    difference = max(d for p in packs for d in p.differences)
    crossed = [v for p in packs for i, row in enumerate(p.influence) for j, v in enumerate(row) if i != j]
    largest = max(p.largest_logit for p in packs)
    gradient = shown(max(crossed)) if crossed else "no pair"
    pairs = f"max |gradient across segments| {gradient} over {len(crossed)} pairs"
    return f"max |Δlogit| {shown(difference)} at logits up to {largest:.0f}; {pairs}"


def _loss(packs: list[Pack]) -> str:
    """The largest relative gap between the packed and the token-weighted loss."""
    gap, taught = max(isolation.relative_gap(p) for p in packs), sum(p.taught for p in packs)
    return f"relative gap {shown(gap)} over {len(packs)} packs with {taught} taught tokens"
