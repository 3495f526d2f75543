"""Every sample appears once, or is in the drop count.

A sample in no pack is never trained on, one in two packs counts twice in the gradient; with either the run optimises
another data distribution than its config names, and an epoch is no longer one pass over the data.

Example: of five samples in packs `[[0, 1], [3]]` two are gone; that holds only if the pipeline counts 2 as dropped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.packing import surfaces as s
from coordexp_audit_lib.boundaries.packing.artifact import PackedRow
from coordexp_audit_lib.boundaries.packing.cases import PACKERS, each_membership, each_plan, of_plan
from coordexp_audit_lib.boundaries.packing.faults import replaced
from coordexp_audit_lib.boundaries.packing.predicates import plans, samples
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.finding import Violation


@claim(
    severity="P0",
    kind="B",
    remedy="Count the samples of every dropped pack and report the number beside the plan; drop at most the last pack.",
)
def each_once(ctx: Context) -> Iterator[Violation]:
    collated = ctx.answers(s.BATCH) or ctx.answers(s.JOIN)
    if collated:  # who collates may lose a sample that the plan has
        yield from _collated(ctx)
    elif ctx.answers(s.ENCODE):  # who only plans does not collate
        ctx.left_out("what the collated packs hold", "the pipeline collates none when asked")
    if collated and not any(ctx.answers(q) for q in PACKERS):
        return
    for question, request, answer in each_plan(ctx):
        ctx.judged()
        if answer.refused:  # loud, so nothing is lost in silence
            continue
        skipped, dropped = (getattr(answer.value, n, 0) for n in ("skipped_long", "dropped"))
        for problem in plans.each_once(len(request.lengths), answer.value.packs, skipped, dropped):
            yield of_plan(question, request, problem)
    if ctx.answers(s.PLAN):
        with ctx.case("drop_last"):
            _note_drops(ctx)


def _collated(ctx: Context) -> Iterator[Violation]:
    for name, _, request, members in each_membership(ctx):
        ctx.judged()
        case = {"case": name, "members": members}
        for problem in plans.each_once(len(request.samples), members, 0, 0):
            yield problem.violation(name, case)


def _note_drops(ctx: Context) -> None:
    """How much `drop_last` drops where several packs are underfilled: three samples of 60 at a capacity of 100."""
    kept, cut = (ctx.ask(s.PLAN, s.PlanRequest([60, 60, 60, 90, 5], 100, drop_last=d)) for d in (False, True))
    if kept.content and cut.content:
        gone = len(kept.content.packs) - len(cut.content.packs)
        name = "packs that drop_last drops of lengths 60, 60, 60, 90, 5 at 100"
        ctx.fact(name, f"{gone} of {len(kept.content.packs)}")


each_once.on(PackedRow, samples.each_once)

fault(each_once, "twice", s.PLAN, "sample 0 stands in the last pack too")(
    replaced(lambda request, made: {"packs": [*made.packs[:-1], [*made.packs[-1], 0]]})
)
fault(each_once, "dropped_silently", s.PLAN, "drops are not counted")(replaced(lambda request, made: {"dropped": None}))


def _last_lost(request: s.PlanRequest, made: s.Plan) -> dict[str, Any]:
    return {"packs": [*made.packs[:-1], made.packs[-1][:-1]] if made.packs else []}


fault(each_once, "last_sample_lost", s.PLAN, "the last sample of an epoch is never emitted, and not counted")(
    replaced(_last_lost)
)
fault(each_once, "last_pack_lost", s.PLAN, "the last pack is dropped without being asked to, and not counted")(
    replaced(lambda request, made: {"packs": made.packs[:-1]})
)
