"""The packed loss equals the token-weighted loss of the samples one by one, and the loss of a step is the same in
however many packs it is trained.

Packing is meant to save padding and to change nothing else. If the packed loss is a mean of segment means, or
supervises a token more or fewer, then the weight of a sample in the gradient depends on which others happened to share
its pack.

The same holds of a step that makes several packs: with each pack weighed by its samples, a token in a pack of long
samples weighs less than one in a pack of short ones.

Example: samples with losses 1.0 over 1 token and 3.0 over 3 tokens make a packed loss of 2.5; the mean of means is
2.0."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from coordexp_audit_lib.boundaries.packing.artifact import PackedRow
from coordexp_audit_lib.boundaries.packing.cases import ROLLOUT, each_forward, packers
from coordexp_audit_lib.boundaries.packing.faults import calls
from coordexp_audit_lib.boundaries.packing.predicates import accumulation, isolation
from coordexp_audit_lib.boundaries.packing.reference import steps
from coordexp_audit_lib.boundaries.packing.surfaces import FORWARD, STEP, Pack, Step, StepRequest
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation

OBJECTS = [1, 1, 9, 1]
ALL_TOGETHER, APART = 4096, 300  # tokens of a pack: all samples, or the long one by itself


@claim(
    severity="P1",
    kind="B",
    remedy="Sum the cross-entropy over all supervised tokens and divide by their number once: of the pack, and of a "
    "step of several packs, each of which then weighs as many tokens as it supervises.",
)
def loss_equivalent(ctx: Context) -> Iterator[Violation]:

    def misbounded(label: str, why: str) -> tuple[Violation, ...]:
        ctx.left_out(label, f"the model can't be run so, as packing.segments_isolated says: {why}")
        return ()

    yield from each_forward(ctx, lambda pack, attention: isolation.loss_equivalent(pack), _measured, misbounded)
    if ROLLOUT not in packers(ctx) and not ctx.answers(STEP):
        return
    channels: tuple[Literal["A", "B"], ...] = ("A", "B")
    for channel in channels:
        where = _named(ctx, channel)
        try:
            with ctx.case(where):
                yield from _step(ctx, channel, where)
        except SurfaceUnbound as error:
            ctx.left_out(where, error.what)


def _named(ctx: Context, channel: Literal["A", "B"]) -> str:
    """What a step is called; an adapter's pipeline knows no channels."""
    if ctx.target.declaration() is None:
        return f"a step of Channel-{channel}"
    return "a step under gradient accumulation" if channel == "A" else "a step over rollouts"


def _step(ctx: Context, channel: Literal["A", "B"], where: str) -> Iterator[Violation]:
    """The same samples in one pack and in several."""
    whole, split = (ctx.value(STEP, StepRequest(OBJECTS, length, channel)) for length in (ALL_TOGETHER, APART))
    ctx.judged()
    if ctx.target.declaration() is not None:
        ctx.fact(f"micro-steps of {where}", [len(whole.packs), len(split.packs)])
    if len(whole.packs) != 1 or len(split.packs) < 2:
        ctx.left_out(where, f"it makes packs of {whole.packs} and of {split.packs} samples")
    elif abs(split.loss - whole.loss) > isolation.STEP_TOLERANCE * abs(whole.loss):
        message = f"{where}: its loss depends on how its samples are packed"
        case = {"objects": OBJECTS, "packs": [whole.packs, split.packs]}
        yield Violation(message, where, _shown(whole.loss), _shown(split.loss), case)


def _shown(loss: float) -> float:
    return float(f"{loss:.4g}")


def _measured(packs: list[Pack]) -> str:
    """The largest relative gap between the packed and the token-weighted loss."""
    gap, supervised = max(isolation.relative_gap(p) for p in packs), sum(p.supervised for p in packs)
    shown = isolation.difference_shown(gap)
    return f"relative gap {shown} over {len(packs)} packs with {supervised} supervised tokens"


loss_equivalent.on(PackedRow, accumulation.divided)
loss_equivalent.on(accumulation.Logged, accumulation.token_weighted)

fault(loss_equivalent, "crossing_label", FORWARD, "each sample's first token is supervised from the sample before it")(
    calls(first_supervised=True)
)
fault(loss_equivalent, "mean_of_means", FORWARD, "the loss is the mean of the segments' means")(calls(by_segment=True))


@fault(loss_equivalent, "packs_weighed_by_samples", STEP, "each pack of a step weighs as many samples as it has")
def packs_weighed_by_samples(request: StepRequest, honest: Honest) -> Any:
    made: Step = honest(request)
    return steps.weighed(request, made.packs)
