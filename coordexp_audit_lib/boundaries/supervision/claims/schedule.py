"""Step s runs Channel-B exactly when floor((s+1)b) > floor(s b): over a million steps, across resume, for b at 0, 1
and between.

The schedule is the mixture of the two objectives. A trainer that counts from the last resume, or draws at random,
trains on another mixture than its config says, and two runs of one config on two mixtures.

Example: with b = 0.05 the steps 19, 39, 59, … run Channel-B, whether or not training was resumed at 25."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from coordexp_audit_lib.boundaries.supervision.reference.questions import scheduled
from coordexp_audit_lib.boundaries.supervision.surfaces import SCHEDULE, Schedule, ScheduleRequest, digests
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.schedule import b_steps, channels, is_b_step

STEPS = 1_000_000
SHARES = ((0.0, 50_000), (1.0, 50_000), (0.85, STEPS), (1 / 3, 200_000), (0.05, 50_000), (0.5, 50_000))


@claim(severity="P0", kind="B", remedy="Derive the channel from the step alone, by the two floors.")
def schedule(ctx: Context) -> Iterator[Problem]:
    for b, steps in SHARES:
        request = ScheduleRequest(b, [0, 1, steps // 3, steps // 2 + 7, steps])
        answer = ctx.value(SCHEDULE, request)
        wanted = digests(channels(b, 0, steps), request.block)
        ctx.judged(steps)
        if answer.b_steps != b_steps(steps, b):
            yield Problem("the number of Channel-B steps is off", f"b = {b:.4g}", b_steps(steps, b), answer.b_steps)
        bad = next((i for i, (x, y) in enumerate(zip(answer.blocks, wanted, strict=False)) if x != y), None)
        if bad is not None or len(answer.blocks) != len(wanted):
            yield _first_wrong(ctx, b, (bad or 0) * request.block, request.block)


def _first_wrong(ctx: Context, b: float, start: int, block: int) -> Problem:
    detail = ctx.value(SCHEDULE, ScheduleRequest(b, [start, start + block], detail=True)).positions
    right = [s for s in range(start, start + block) if is_b_step(s, b)]
    first = min(set(detail) ^ set(right), default=start)
    expected, actual = ("B" if first in steps else "A" for steps in (right, detail))
    case = {"b": b, "step": first}
    return Problem("a step runs the wrong channel", f"b = {b:.4g}, step {first}", expected, actual, case)


_FROM_RESUME = "The schedule counts steps from the last resume, not from the start of training."


@fault(schedule, "counts_from_resume", SCHEDULE, _FROM_RESUME)
def _counts_from_resume(request: ScheduleRequest, honest: Honest) -> Schedule:
    lines = (channels(request.b, 0, stop - start) for start, stop in pairwise(request.resumes))
    return scheduled(request, "".join(lines))


@fault(
    schedule, "one_step_early", SCHEDULE, "The schedule counts steps from one, so that Channel-B comes a step early."
)
def _one_step_early(request: ScheduleRequest, honest: Honest) -> Schedule:
    return scheduled(request, channels(request.b, request.resumes[0] + 1, request.resumes[-1] + 1))


@fault(schedule, "share_rounded", SCHEDULE, "The share of Channel-B steps is kept in whole percent.")
def _share_rounded(request: ScheduleRequest, honest: Honest) -> Schedule:
    return scheduled(request, channels(round(request.b, 2), request.resumes[0], request.resumes[-1]))
