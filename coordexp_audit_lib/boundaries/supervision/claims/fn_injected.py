"""Every ground truth is in the target exactly once (matched or appended); appended structure, desc and geometry are
supervised; the whole target parses in strict mode; field order follows the config.

Appending what the model missed is what raises recall. An object that is left out is silently forgotten in every step,
one that stands twice supervises a duplicate, and a target that does not parse supervises a form that evaluation drops.

Example: of three ground truths two are matched; the third stands behind the rollout's records, whole and
supervised."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases import rollouts
from coordexp_audit_lib.boundaries.supervision.cases.asking import over, said, with_overlap
from coordexp_audit_lib.boundaries.supervision.cases.rollouts import Case
from coordexp_audit_lib.boundaries.supervision.faults import of_fate, roles, scaled
from coordexp_audit_lib.boundaries.supervision.predicates import targets
from coordexp_audit_lib.boundaries.supervision.predicates.reading import APPENDED
from coordexp_audit_lib.boundaries.supervision.predicates.roles import DESC, layout, text_of
from coordexp_audit_lib.boundaries.supervision.surfaces import (
    CHANNEL_A,
    CHANNEL_B,
    ChannelARequest,
    ChannelB,
    ChannelBRequest,
    SegmentB,
    Thing,
)
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, asked, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.coordjson import Order
from coordexp_audit_lib.kit.tokenizer import encode

ORDERS: tuple[Order, ...] = ("desc_first", "geometry_first")


@claim(
    severity="P0",
    kind="B",
    remedy="Append what was not matched, in the config's field order, behind a prefix that holds valid records only.",
)
def fn_injected(ctx: Context) -> Iterator[Violation]:
    yield from over(ctx, rollouts.targets(), targets.injected)
    yield from with_overlap(ctx, APPENDED)
    whole = [Case("300 ground truths", rollouts.crowd()), *rollouts.with_invalid_records()]
    for ids in rollouts.truncations():
        whole.append(Case(f"cut after {len(ids)} tokens", rollouts.one(rollouts.GT, ids, backward=False)))
    yield from over(ctx, whole, targets.sound)
    yield from _as_forced(ctx)
    for seldom in (rollouts.coordinate_in_desc(), rollouts.without_ground_truth()):
        yield from (replace(v, severity="P1") for v in over(ctx, [seldom], targets.sound))


def _as_forced(ctx: Context) -> Iterator[Violation]:
    """What is appended is written as Channel-A writes the same objects, to the byte: both are the pipeline's own."""
    for order in ORDERS:
        name, asked = f"first found, others missed, {order}", rollouts.after_one(order)
        forced = ctx.ask(CHANNEL_A, ChannelARequest(asked.samples, 1, "unroll", order))
        found = ctx.ask(CHANNEL_B, asked)
        written = [made.content.segments for made in (forced, found) if made.content is not None]
        if len(written) < 2 or not all(written):
            ctx.left_out(name, said(forced) or said(found) or "no target came back")
            continue
        tails = [_tail(made[0].ids, order) for made in written]
        ctx.judged()
        if tails[0] != tails[1]:
            message = "what is appended is not written as teacher forcing writes it"
            yield Problem(message, name, tails[0], tails[1], authority="practice").violation(name)


def _tail(ids: list[int], order: Order) -> str:
    """What follows the first record, up to the end of the turn."""
    view = layout(ids, order)
    start = view.records[0].span[1] if view.records else 0
    return view.text[start:].partition(b"<|im_end|>")[0].decode("utf-8", "replace")


fn_injected.on(targets.Supervised, targets.injected)

fault(fn_injected, "last_missed_forgotten", CHANNEL_B, "The last ground truth is left out of the target.")(
    asked(samples=lambda request: [replace(s, gt=s.gt[:-1]) for s in request.samples])
)
fault(fn_injected, "appended_desc_masked", CHANNEL_B, "The desc of appended objects gets no loss.")(
    scaled(lambda one, p: of_fate(one, p, APPENDED) and DESC in roles(one, p), 0.0)
)
_LOWER = "The desc of what is appended is written in small letters."
fault(fn_injected, "appended_desc_lowered", CHANNEL_B, _LOWER)(
    asked(samples=lambda request: [replace(s, gt=list(map(_lowered, s.gt))) for s in request.samples])
)


def _lowered(thing: Thing) -> Thing:
    return replace(thing, desc=thing.desc.lower())


_DENSE = "What is appended is written without a space between records."


@fault(fn_injected, "appended_without_spaces", CHANNEL_B, _DENSE)
def _dense(request: ChannelBRequest, honest: Honest) -> ChannelB:
    answer: ChannelB = honest(request)
    if request.backward:
        return answer  # what is measured token by token would not fit

    def changed(segment: SegmentB) -> SegmentB:
        kept, tail = segment.ids[: segment.prefix_len], text_of(segment.ids[segment.prefix_len :])
        return replace(segment, ids=[*kept, *encode(tail.decode().replace("}, {", "},{"))])

    return replace(answer, segments=list(map(changed, answer.segments)))
