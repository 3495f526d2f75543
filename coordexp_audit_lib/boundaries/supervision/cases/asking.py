"""How a case is asked: each segment of Channel-B's answer as it is judged, each case of Channel-A with its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.supervision import surfaces as s
from coordexp_audit_lib.boundaries.supervision.cases import rollouts
from coordexp_audit_lib.boundaries.supervision.cases.rollouts import Case
from coordexp_audit_lib.boundaries.supervision.predicates.reading import read
from coordexp_audit_lib.boundaries.supervision.predicates.targets import Supervised, overlapped
from coordexp_audit_lib.core.claim import Context, Ledger
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.sheet import kind_of
from coordexp_audit_lib.core.surface import Answer

Judged = Callable[[Supervised, Ledger], Iterable[Problem]]


def segments(
    request: s.ChannelBRequest, answer: s.ChannelB | None, **rules: Any
) -> Iterator[tuple[Supervised, s.Sample]]:
    """Each segment of an answer, ready to be judged, with its sample; none of a refusal. rules: see `rules`."""
    for segment, sample in zip(answer.segments if answer else [], request.samples, strict=False):
        one = Supervised(
            segment,
            read(segment, sample, request.order),
            sample.gt,
            request.order,
            slopes=request.ciou_weight == 0 and not request.all_terms,
            gated=request.all_terms,
            desc_weight=request.desc_ce_weight,
            **rules,
        )
        yield one, sample


TAKEN = "Take such a rollout: train what can be trained of it, and refuse none for how its words are spelt."


def rules(ctx: Context) -> dict[str, Any]:
    """What the contract lets a target do that another era's may not, as `Supervised` has it."""
    names = ("extras", "sorted_corners")
    return {n: ctx.contract[f"supervision.{n}"] for n in names if f"supervision.{n}" in ctx.contract}


def over(ctx: Context, cases: Iterable[Case], judged: Judged) -> Iterator[Violation]:
    """Ask every case and judge each of its segments; a refusal of a case that must become a target is a violation."""
    for case in cases:
        found = ctx.ask(s.CHANNEL_B, case.request)
        if found.refused:
            ctx.judged()
            message = "the step is refused although the rollout must become a target"
            kind = f"{message}: {kind_of(said(found))}"
            yield Violation(message, case.name, "a target", said(found), kind=kind, remedy=TAKEN)
            continue
        judgeable = list(segments(case.request, found.content, **rules(ctx)))
        if len(judgeable) < len(case.request.samples):
            ctx.left_out(case.name, f"{len(judgeable)} segments came back for {len(case.request.samples)} samples")
        for one, _ in judgeable:
            text = one.reading.view.text.decode("utf-8", "replace")
            for problem in judged(one, ctx):
                yield msgspec.structs.replace(problem, counterexample=text).violation(case.name)


def targets(ctx: Context) -> Iterator[tuple[Case, Supervised, s.Sample]]:
    """Each segment of each case of `rollouts.targets`, ready to be judged; none of a refusal."""
    for case in rollouts.targets():
        for one, sample in segments(case.request, ctx.ask(s.CHANNEL_B, case.request).content, **rules(ctx)):
            yield case, one, sample


def first(ctx: Context, request: s.ChannelBRequest) -> Supervised:
    """The first segment of an answer that must have one."""
    return next(one for one, _ in segments(request, ctx.value(s.CHANNEL_B, request), **rules(ctx)))


def said(answer: Answer[Any]) -> str:
    """A refusal in one line."""
    return f"{answer.refusal.type}: {answer.refusal.message[:200]}" if answer.refusal else ""


def channel_a(ctx: Context) -> list[tuple[str, s.ChannelARequest]]:
    """Channel-A's cases, with as many forwards as the contract knows of."""
    return rollouts.channel_a(ctx.contract.get("supervision.iterations", rollouts.MOST))


def passes(ctx: Context, iterated: bool = False) -> Iterator[tuple[str, s.ChannelARequest, s.ChannelA]]:
    """Channel-A's cases with their answers; one without a forward can't be judged, and is left out.

    iterated: ask for several forwards also where the contract knows of one only.
    """
    for name, request in rollouts.channel_a() if iterated else channel_a(ctx):
        answer = ctx.value(s.CHANNEL_A, request)
        if answer.passes:
            yield name, request, answer
        else:
            ctx.left_out(name, "no forward was seen")


def with_overlap(ctx: Context, fate: str) -> Iterator[Violation]:
    """Ask one case without and with the overlap loss: SmoothL1 alone tells the bins, but would hide a lost CIoU."""
    case = rollouts.targets()[0]
    plain = ctx.value(s.CHANNEL_B, case.request).segments
    if not plain:
        ctx.left_out("CIoU", "no segment came back")
        return
    raised = Case("with CIoU", msgspec.structs.replace(case.request, ciou_weight=1.0))
    yield from over(ctx, [raised], lambda one, ledger: overlapped(one, ledger, plain[0], fate))
