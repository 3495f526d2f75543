"""Every rank gets the same number of packs, and the union of the ranks is the plan.

A rank with fewer packs leaves the others waiting in the next collective until it times out. Ranks that hold different
plans train some samples twice and others never, although each of them reports a complete epoch.

Example: 5 packs on 2 ranks become 6, with pack 0 repeated and named as repeated: ranks take 0, 2, 4 and 1, 3, 0."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.packing import cases
from coordexp_audit_lib.boundaries.packing import surfaces as s
from coordexp_audit_lib.boundaries.packing.artifact import PackedRow
from coordexp_audit_lib.boundaries.packing.faults import replaced
from coordexp_audit_lib.boundaries.packing.predicates import plans
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.problem import Problem, Undecided
from coordexp_audit_lib.core.surface import Refuse


@claim(
    severity="P2",
    kind="B",
    remedy="Repeat packs cyclically until the plan is a multiple of the ranks, or refuse with both numbers.",
)
def ddp_aligned(ctx: Context) -> Iterator[Violation]:
    """Packs from 1 to 13, one sample each, on 1 to 8 ranks, with and without dataloader_drop_last; then a real plan."""
    plain = [([90] * packs, 100) for packs in (1, 3, 5, 8, 13)]
    real = (cases.realistic_lengths(ctx.rng("ddp"), 60), cases.GLOBAL_MAX_LENGTH)
    several = 0
    for lengths, length in [*plain, real]:
        for world in range(1, 9):
            for drop_last in (False, True):
                request = s.PlanRequest(lengths, length, world_size=world, dataloader_drop_last=drop_last)
                with ctx.case(f"{world} ranks{', dataloader_drop_last' if drop_last else ''}"):
                    yield from _of_ranks(ctx, request)
                    several += world > 1
    if not several:
        raise Undecided("needs a plan that is dealt to several ranks")


def _of_ranks(ctx: Context, request: s.PlanRequest) -> Iterator[Violation]:
    answer = ctx.ask(s.PLAN, request)
    ctx.judged()
    if answer.refusal:
        found = _refusal_unfit(answer.refusal.type, answer.refusal.message, request.dataloader_drop_last)
    else:
        found = list(plans.ranks_aligned(answer.value, request.world_size, request.dataloader_drop_last))
    yield from (cases.of_plan(s.PLAN, request, problem) for problem in found)


def _refusal_unfit(kind: str, message: str, drop_last: bool) -> list[Problem]:
    """Fewer packs than ranks may be refused, on purpose; an accident of indexing is no refusal."""
    if kind in ("ValueError", "RuntimeError", "Refuse"):
        return []
    how = "cut" if drop_last else "filled up"
    text = f"a plan with fewer packs than ranks can't be {how}: it ends in {kind} ({message})"
    return [Problem(text, expected="packs for every rank, or a refusal that says why", actual=kind)]


ddp_aligned.not_on(PackedRow, "needs the plan and every rank's share of it")


@fault(ddp_aligned, "uneven_ranks", s.PLAN, "the plan is dealt to the ranks without alignment")
@replaced
def uneven_ranks(request: s.PlanRequest, made: s.Plan) -> dict[str, Any]:
    ranks = [list(range(r, len(made.packs), request.world_size)) for r in range(request.world_size)]
    return {"aligned": made.packs, "ranks": ranks, "repeated": []}


@fault(ddp_aligned, "too_few_packs", s.PLAN, "repeating packs runs over the end of a plan with fewer packs than ranks")
def too_few_packs(request: s.PlanRequest, honest: Honest) -> s.Plan:
    made: s.Plan = honest(request)
    if len(made.repeated) > len(made.packs):
        raise Refuse("list index out of range", type="IndexError")
    return made
