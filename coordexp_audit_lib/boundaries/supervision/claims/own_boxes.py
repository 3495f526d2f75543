"""Each coordinate's geometry gradient points to the box of its own sample's ground truth, in either channel, wherever
the sample stands in a pack.

A pack keeps its boxes by place. Where the place does not go on past a sample that has none of a kind (nothing matched,
nothing missed, nothing to find at all), the boxes of those behind it are pulled at another sample's tokens: the loss is
as smooth as ever, and moves coordinates to where nothing is.

Example: of three packed samples the second has nothing matched; the third's matched box still moves to its own bins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases import rollouts
from coordexp_audit_lib.boundaries.supervision.cases.asking import over, rules
from coordexp_audit_lib.boundaries.supervision.cases.rollouts import Case
from coordexp_audit_lib.boundaries.supervision.predicates import aims as predicates
from coordexp_audit_lib.boundaries.supervision.predicates import targets
from coordexp_audit_lib.boundaries.supervision.surfaces import (
    CHANNEL_A,
    CHANNEL_B,
    ChannelA,
    ChannelARequest,
    ChannelB,
    ChannelBRequest,
    SegmentB,
)
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation


@claim(severity="P0", kind="B", remedy="Go on by each sample's length before the next one, also where it has no boxes.")
def own_boxes(ctx: Context) -> Iterator[Violation]:
    yield from _channel_b(ctx, rollouts.gaps())
    for name, request in rollouts.channel_a():
        if not request.ciou_weight:
            yield from _channel_a(ctx, name, request)
    yield from _without_objects(ctx)


def _without_objects(ctx: Context) -> Iterator[Violation]:
    """A sample with nothing to find: that it may be refused is `fn_injected`'s to say."""
    case, (name, request) = rollouts.empty_between(), rollouts.empty_pack()
    if not ctx.ask(CHANNEL_B, case.request).refused:
        yield from _channel_b(ctx, case)
    if not ctx.ask(CHANNEL_A, request).refused:
        yield from _channel_a(ctx, name, request)


def _channel_b(ctx: Context, case: Case) -> Iterator[Violation]:
    # Boxes are put on tokens where the loss is computed, which is what answers for Channel-A.
    yield from (replace(v, where=ctx.where(CHANNEL_A)) for v in over(ctx, [case], targets.owned))


def _channel_a(ctx: Context, name: str, request: ChannelARequest) -> Iterator[Violation]:
    answer = ctx.value(CHANNEL_A, request)
    if len(answer.aims) != len(answer.slots):
        ctx.left_out(name, f"{len(answer.aims)} of {len(answer.slots)} slots tell where they are moved to")
        return
    aims = dict(zip(answer.slots, answer.aims, strict=True))
    for p in predicates.aimed(answer, aims, ctx, bool(rules(ctx).get("sorted_corners"))):
        yield p.violation(name)


def _from(first: int, change: Callable[[SegmentB], SegmentB]) -> Any:
    """The segments of a pack from this one on, changed."""

    def apply(request: ChannelBRequest, honest: Honest) -> ChannelB:
        answer: ChannelB = honest(request)
        if not request.packed or len(answer.segments) <= first:
            return answer
        return replace(answer, segments=[*answer.segments[:first], *map(change, answer.segments[first:])])

    return apply


def _unmoved(groups: str) -> Callable[[SegmentB], SegmentB]:
    """The segment with no gradient at the slots of these groups: it went to other tokens."""

    def change(segment: SegmentB) -> SegmentB:
        gone = {p for g in getattr(segment, groups) for p in g.pos}
        grads = [0.0 if p in gone else v for p, v in enumerate(segment.coord_grad)]
        return replace(
            segment, coord_grad=grads, targets=[-1 if p in gone else k for p, k in enumerate(segment.targets)]
        )

    return change


_MATCHED = "Matched boxes behind a sample that has none take another sample's tokens."
fault(own_boxes, "gap_of_matched_not_passed", CHANNEL_B, _MATCHED)(_from(2, _unmoved("prefix_groups")))
_MISSED = "Appended boxes behind a sample that has none take another sample's tokens."
fault(own_boxes, "gap_of_missed_not_passed", CHANNEL_B, _MISSED)(_from(1, _unmoved("fn_groups")))


@fault(
    own_boxes, "first_samples_boxes", CHANNEL_A, "In a pack of Channel-A all slots move to the first sample's boxes."
)
def _first_samples(request: ChannelARequest, honest: Honest) -> ChannelA:
    answer: ChannelA = honest(request)
    own = [k for t in request.samples[0].gt for k in t.bbox]
    return replace(answer, aims=[own[i % len(own)] for i in range(len(answer.aims))]) if request.packed else answer


@fault(own_boxes, "empty_sample_not_passed", CHANNEL_A, "Behind a sample without boxes no slot gets a gradient.")
def _empty_not_passed(request: ChannelARequest, honest: Honest) -> ChannelA:
    answer: ChannelA = honest(request)
    gap = next((n for n, s in enumerate(request.samples) if not s.gt), len(request.samples))
    kept = 4 * sum(len(s.gt) for s in request.samples[:gap])
    return replace(answer, aims=[k if i < kept else -1 for i, k in enumerate(answer.aims)])
