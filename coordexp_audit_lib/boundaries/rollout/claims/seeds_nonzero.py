"""Per-request seeds are non-negative int32, non-zero, distinct, the same on rerun.

Two requests with one seed draw the same random numbers, so that a step explores less than it reports; 0 means no seed
to ms-swift, and beyond int32 the server refuses or wraps. A run whose seeds change cannot be repeated. A request's seed
is its call's seed plus its place in the call, as ms-swift's engine counts.

Example: calls of two requests with seeds 1 and 3 give 1, 2, 3, 4; with seeds 1 and 2, request 1 and 2 share seed 2."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import asdict, replace

from coordexp_audit_lib.boundaries.rollout import cases, predicates
from coordexp_audit_lib.boundaries.rollout import surfaces as s
from coordexp_audit_lib.boundaries.rollout.faults import reseeded
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.schedule import STRIDE


@claim(
    severity="P1",
    kind="B",
    remedy="Derive each request's seed from the base and its index in the whole step, by a map into 1 … 2^31-1 that "
    "gives two indices one seed nowhere, and hand the index on through every level of chunks.",
)
def seeds_nonzero(ctx: Context) -> Iterator[Problem]:
    for request in cases.seed_requests():
        first, again = (ctx.value(s.DISPATCH, replace(request, repeat=n)).runs for n in (0, 1))
        for case, runs, second in zip(request.cases, first, again, strict=True):
            shown = {"training_seed": request.seed, "global_step": request.global_step, **asdict(case)}
            what = "one Channel-B step" if request.step == "train" else "one rollout"
            if runs and all(r.calls or r.error for r in runs):
                ctx.judged()
            else:
                ctx.left_out(f"{what} of {case.requests} requests", "no request was sent")
            views = ctx.contract.get("supervision.views", 1) if request.step == "train" else 1
            yield from predicates.told((p for run in runs for p in _problems(run, views)), what, shown)
            if runs != second:
                again_other = Problem("a rerun sends other seeds", "", "equal calls", "different")
                yield from predicates.told([again_other], what, shown)


def _problems(run: s.RankRun, views: int) -> Iterator[Problem]:
    if run.error:
        yield Problem("the rollout is refused", "", "calls with seeds", run.error)
    else:
        yield from predicates.seed_problems(run.calls, views)


fault(seeds_nonzero, "zero_seed", s.DISPATCH, "the first request's seed is 0")(
    reseeded(lambda _request, _run, call: (call.seed or 1) - 1)
)
fault(seeds_nonzero, "one_seed", s.DISPATCH, "every call of a step begins at the step's seed")(
    reseeded(lambda _request, run, _call: run.calls[0].seed)
)
fault(seeds_nonzero, "seed_by_clock", s.DISPATCH, "a rerun draws other seeds")(
    reseeded(lambda request, _run, call: (call.seed or 0) + 100 * request.repeat)
)
fault(seeds_nonzero, "wide_seed", s.DISPATCH, "seeds are not cut to int32")(
    reseeded(lambda request, _run, call: request.seed + request.global_step * STRIDE + 1 + call.requests[0])
)
