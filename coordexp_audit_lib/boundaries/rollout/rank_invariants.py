"""The claims of the rollout boundary about ranks: they fail together, and no collective is left to some of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.rollout import predicates
from coordexp_audit_lib.boundaries.rollout.collectives import ScanRequest
from coordexp_audit_lib.boundaries.rollout.contract import (
    COLLECTIVES,
    TWO_RANKS,
    RanksEnded,
    RanksRequest,
    Reducer,
    Scenario,
)
from coordexp_audit_lib.boundaries.rollout.predicates import Problem
from coordexp_audit_lib.core.claim import Context, invariant
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Violation

SPEC = "openspec/specs/stage2-ab-training/spec.md"
REDUCERS: tuple[Reducer, ...] = ("stage2", "rollout_matching")
FAILURES: dict[Scenario, str] = {
    "not_ready": "rank 1 has no metrics to log",
    "weight_sync": "rank 0 cannot push weights to the server",
    "rollout_fails": "rank 1's server answers 500",
    "before_metrics": "rank 1 raises where metrics are reduced",
}
SAME = [{"loss/ce": 1.0, "time/rollout_generate_s": 2.0}, {"loss/ce": 3.0, "time/rollout_generate_s": 1.0}]
UNEVEN = [{"loss/ce": 1.0, "rollout/f1": 0.5}, {"loss/ce": 3.0, "rollout/gen_new_tokens_mean": 7.0}]
PARSES = [
    {"loss/ce": 1.0},
    {
        "loss/ce": 1.0,
        "stage2/raw_rollouts": 4.0,
        "train/samples_total": 4.0,
        "rollout/parse_truncated": 1.0,
        "rollout/parse_truncated_rate": 0.25,
    },
]
EMPTY: list[dict[str, float]] = [{}, {"stage2/raw_rollouts": 2.0, "rollout/parse_truncated": 0.0}]
STEPS = 60
WAYS = {
    "branch": "some ranks do not enter the branch",
    "return": "some ranks return",
    "skip": "some ranks leave the round of the loop",
}


def failures() -> Iterator[RanksRequest]:
    """Every scenario in which one rank fails; where metrics are reduced, in both reducers."""
    for scenario in FAILURES:
        for reducer in REDUCERS if scenario == "before_metrics" else REDUCERS[:1]:
            yield RanksRequest(scenario, reducer, [{"loss/ce": 1.0}, {"loss/ce": 2.0}])


def reductions() -> Iterator[RanksRequest]:
    """Equal keys, keys of one rank only, and a rank without rollouts, in both reducers."""
    for reducer in REDUCERS:
        for metrics in (SAME, UNEVEN, PARSES, EMPTY):
            yield RanksRequest("metrics", reducer, metrics)


@invariant(
    "rollout.fail_together",
    boundary="rollout",
    severity="P0",
    kind="B",
    claim="Two real gloo processes on the CPU: an exception on one rank raises on both, in bounded time; the channel "
    "of a step is the same on both; metric keys are the union.",
    remedy="Exchange outcomes before every collective that only healthy ranks reach, let errors of collectives "
    "propagate, and derive what is reported from the union of keys.",
    spec=f"{SPEC} (Multi-process learner uses rank0 broadcast for step kind; Stage-2 critical invariants fail fast)",
)
def fail_together(ctx: Context) -> Iterator[Violation]:
    for request in failures():
        ended = ctx.value(TWO_RANKS, request)
        ctx.judged()
        what = FAILURES[request.scenario] + (f" ({request.reducer})" if request.scenario == "before_metrics" else "")
        yield from _violations(ctx, predicates.together_problems(ended), what, request, ended)
    for request in reductions():
        ended = ctx.value(TWO_RANKS, request)
        ctx.judged()
        what = f"metrics are reduced ({request.reducer})"
        yield from _violations(ctx, predicates.union_problems(request.metrics, ended), what, request, ended)
    for b_ratio in (0.0, 0.3, 0.5, 1.0):
        request = RanksRequest("channel", b_ratio=b_ratio, steps=STEPS)
        ended = ctx.value(TWO_RANKS, request)
        chosen = [r.channels for r in ended.ranks]
        ctx.judged(STEPS)
        problems = (
            []
            if chosen[0] == chosen[1] and len(chosen[0]) == STEPS
            else [Problem("the ranks do not choose one channel for every step", "equal", chosen or ended.bounded)]
        )
        yield from _violations(ctx, problems, f"a schedule of b_ratio {b_ratio:g}", request, ended)


def _violations(
    ctx: Context, problems: Any, what: str, request: RanksRequest, ended: RanksEnded
) -> Iterator[Violation]:
    for p in problems:
        shown: dict[str, Any] = {"scenario": request.scenario, "ranks": [r.events for r in ended.ranks]}
        if request.scenario == "metrics":
            shown = {"scenario": request.scenario, "metrics": request.metrics}
        yield Violation(f"{what}: {p.message}", what, p.expected, p.actual, shown)


@invariant(
    "rollout.no_rank_conditional_collective",
    boundary="rollout",
    severity="P1",
    kind="S",
    claim="No collective stands in a branch that only some ranks take.",
    remedy="Let every rank come to the collective: reduce the condition over ranks first, and do rank 0's own work "
    "between two collectives instead of around one.",
    spec=f"{SPEC} (DDP-safe Channel-B execution semantics for multi-GPU learners)",
)
def no_rank_conditional_collective(ctx: Context) -> Iterator[Violation]:
    found = ctx.value(COLLECTIVES, ScanRequest())
    ctx.judged(len(found.collectives))
    ctx.fact("files read", found.files)
    for c in found.collectives:
        if c.kind == "alone":
            names = ", ".join(c.condition)
            way = WAYS.get(c.how, c.how)
            message = f"{c.operation} is not reached by every rank: {way} at line {c.line_of_condition}, on {names}"
            yield Violation(
                message,
                c.symbol,
                "reached by every rank",
                msgspec.to_builtins(c),
                where=Where(c.path, c.line, c.symbol),
            )
