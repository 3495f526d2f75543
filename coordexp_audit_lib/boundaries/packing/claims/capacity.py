"""Each pack's length is at most packing_length; no sample is split; an over-long one is refused or emitted by itself,
as configured, and counted.

A pack that is longer than the row it goes into is cut by the collator or the model, and what is cut off is
supervision: the objective then lacks the ends of some samples, which ones depends on the packing, and nothing says so.
A split sample is trained on a text without its prompt.

Example: of lengths 40, 130, 60 at `packing_length: 100` the sample of 130 stands in a pack by itself and `single_long`
is 1, or it is in no pack and `skipped_long` is 1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.packing import surfaces as s
from coordexp_audit_lib.boundaries.packing.artifact import PackedRow
from coordexp_audit_lib.boundaries.packing.cases import each_plan, of_plan
from coordexp_audit_lib.boundaries.packing.faults import replaced
from coordexp_audit_lib.boundaries.packing.predicates import batch, plans
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.surface import Refuse


@claim(
    severity="P0",
    kind="B",
    remedy="Bound every pack by the sum of its samples' lengths, and count what is emitted by itself or skipped.",
)
def capacity(ctx: Context) -> Iterator[Violation]:
    for question, request, answer in each_plan(ctx):
        ctx.judged()
        length, found = request.packing_length, list[Problem]()
        if answer.refusal:
            if max(request.lengths) <= length and not getattr(request, "drop_last", False):
                text = "samples that fit are refused"
                found.append(Problem(text, expected="packs", actual=answer.refusal.message))
        else:
            made, allow = answer.value, getattr(request, "allow_single_long", False)
            found += plans.within_capacity(request.lengths, made.packs, length, allow)
            if question is not s.DRAIN:
                counts = (made.single_long, made.skipped_long)
                found += plans.long_accounted(request.lengths, made.packs, length, allowed=allow, counts=counts)
        yield from (of_plan(question, request, problem) for problem in found)
    if ctx.answers(s.DRAIN):
        yield from _over_long_segments(ctx)


def _over_long_segments(ctx: Context) -> Iterator[Violation]:
    """A rollout segment that fits no pack is refused when it is buffered, wherever it stands."""
    for lengths in ([11], [3, 11], [10, 2, 11, 4]):
        request = s.DrainRequest(lengths, 10)
        answer = ctx.offered("a segment longer than packing_length", s.DRAIN, request)
        if answer is None:
            continue
        ctx.judged()
        if not answer.refused:
            text = "a segment longer than packing_length is not refused"
            yield of_plan(s.DRAIN, request, Problem(text, expected="refusal", actual=answer.value.packs))


capacity.on(PackedRow, batch.capacity)


@fault(capacity, "overfilled", s.PLAN, "the two emptiest packs are joined")
@replaced
def overfilled(request: s.PlanRequest, made: s.Plan) -> dict[str, Any]:
    if len(made.packs) < 2:
        return {}
    first, second, *rest = sorted(made.packs, key=lambda p: sum(request.lengths[i] for i in p))
    return {"packs": sorted([sorted(first + second), *rest])}


fault(capacity, "long_uncounted", s.STREAM, "long samples are not counted")(
    replaced(lambda request, made: {"single_long": 0, "skipped_long": 0})
)


@fault(capacity, "buffers_anything", s.DRAIN, "a segment that fits no pack is buffered")
def buffers_anything(request: s.DrainRequest, honest: Honest) -> s.Drain:
    try:
        made: s.Drain = honest(request)
    except Refuse:
        return s.Drain([[i] for i in range(len(request.lengths))])
    return made
