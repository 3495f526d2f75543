"""Two real gloo processes on the CPU: an exception on one rank raises on both, in bounded time; the channel of a step
is the same on both; metric keys are the union.

A rank that goes on alone waits in its next collective until the job is killed, or applies a gradient that the others do
not have. Ranks in different channels sum gradients of two objectives. A metric that only some ranks report hangs the
reduction, or is averaged over fewer ranks than it says.

Example: where the server of rank 1 answers 500, rank 0 raises too, before the step is logged. The reference does it on
two threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.rollout import cases, predicates
from coordexp_audit_lib.boundaries.rollout import surfaces as s
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, answered, fault
from coordexp_audit_lib.core.problem import Problem


@claim(
    severity="P1",
    kind="B",
    remedy="Exchange outcomes before every collective that only healthy ranks reach, let errors of collectives "
    "propagate, and derive what is reported from the union of keys.",
)
def fail_together(ctx: Context) -> Iterator[Problem]:
    reducers = ctx.contract["rollout.reducers"]
    for what, request in cases.failures(reducers):
        ended = ctx.value(s.TWO_RANKS, request)
        ctx.judged()
        yield from _told(predicates.together_problems(ended), what, request, ended)
    for request in cases.reductions(reducers, ctx.contract["rollout.reduced_metrics"]):
        ended = ctx.value(s.TWO_RANKS, request)
        ctx.judged()
        what = f"metrics are reduced ({request.reducer})"
        yield from _told(predicates.union_problems(request.metrics, ended), what, request, ended)
    for b_ratio in (0.0, 0.3, 0.5, 1.0):
        request = s.RanksRequest("channel", reducers[0], b_ratio=b_ratio, steps=cases.STEPS)
        ended = ctx.value(s.TWO_RANKS, request)
        ctx.judged(cases.STEPS)
        problems = predicates.channel_problems(ended, cases.STEPS)
        yield from _told(problems, f"a schedule of b_ratio {b_ratio:g}", request, ended)


def _told(problems: Iterable[Problem], what: str, request: s.RanksRequest, ended: s.RanksEnded) -> Iterator[Problem]:
    metrics = request.scenario == "metrics"
    seen = {"metrics": request.metrics} if metrics else {"ranks": [r.events for r in ended.ranks]}
    return predicates.told(problems, what, {"scenario": request.scenario, **seen})


def _raised(made: s.RanksEnded) -> bool:
    return all(r.error for r in made.ranks)


def _first_goes_on(made: s.RanksEnded) -> list[s.RankEnd]:
    first, *rest = made.ranks
    on = replace(first, error="", message="", events=[*first.events[:-1], "goes on"])
    return [on, *rest] if _raised(made) else made.ranks


fault(fail_together, "one_goes_on", s.TWO_RANKS, "the rank without the error goes on with the step")(
    answered(ranks=_first_goes_on)
)
fault(fail_together, "left_waiting", s.TWO_RANKS, "the other rank waits in a collective that never comes")(
    answered(bounded=lambda made: made.bounded and not _raised(made))
)


@fault(fail_together, "own_keys", s.TWO_RANKS, "each rank reports the metrics that it had itself")
def own_keys(request: s.RanksRequest, honest: Honest) -> s.RanksEnded:
    made: s.RanksEnded = honest(request)
    if request.scenario != "metrics":
        return made
    return replace(made, ranks=[replace(r, metrics=dict(m)) for r, m in zip(made.ranks, request.metrics, strict=True)])


fault(fail_together, "channels_differ", s.TWO_RANKS, "rank 1 is one step ahead in the schedule")(
    answered(
        ranks=lambda made: [replace(r, channels=r.channels[i:] + r.channels[:i]) for i, r in enumerate(made.ranks)]
    )
)
