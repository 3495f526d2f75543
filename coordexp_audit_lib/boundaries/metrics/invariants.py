"""The claims of the metrics boundary, judged by the predicates of `contract` on what a target's own code logs.

The rows that the catalogue marks as artifact rows are judged here on the log that the target's code writes in a short
run of its own; `command` judges the logs of real runs by the same predicates.
"""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.metrics import cases, contract, names
from coordexp_audit_lib.boundaries.metrics.contract import Predicate, Problem, Undecided
from coordexp_audit_lib.boundaries.metrics.log import Log, Row
from coordexp_audit_lib.boundaries.metrics.surfaces import (
    ACCUMULATE,
    LOG,
    REALIZED,
    AccumulateRequest,
    RealizedResponse,
    log_of,
    numbers,
)
from coordexp_audit_lib.core.claim import Context, invariant
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.finding import Violation

BOUNDARY = "metrics"
AUDIT = "openspec/specs/training-pipeline-audit/spec.md (Stage-2 rollout behavior is observable for diagnosis)"
STAGE2 = "openspec/specs/stage2-ab-training/spec.md"


def judged_runs(ctx: Context, predicate: Predicate) -> Iterator[Violation]:
    """Judge the log of every run; a run that can't tell is left out, and if none can, the claim is unbound."""
    told, reasons = 0, []
    for name, request in cases.runs():
        log = log_of(ctx.value(LOG, request))
        try:
            for problem in predicate(log, ctx.judged):
                yield _violation(problem, name)
            told += 1
        except Undecided as error:
            reasons.append(f"{name}: {error}")
    if not told:
        raise SurfaceUnbound(f"the log can't tell: {'; '.join(reasons)}", where=LOG.name)


def with_runs(ctx: Context, predicate: Predicate, steps: Iterator[Violation]) -> Iterator[Violation]:
    """Judge single steps, then the runs. Where no run is possible the claim is unbound, unless the steps break it."""
    found = list(steps)
    yield from found
    try:
        yield from judged_runs(ctx, predicate)
    except SurfaceUnbound as error:
        if not found:
            raise
        ctx.fact("not judged", str(error))


def _violation(problem: Problem, case: str) -> Violation:
    steps = [r.step for r in problem.rows]
    return Violation(problem.message, problem.subject, problem.expected, problem.actual, {"case": case, "steps": steps})


def judged_steps(ctx: Context, predicate: Predicate) -> Iterator[Violation]:
    """Judge what micro-steps of one optimizer step become on two ranks."""
    for name, _, payload in accumulated(ctx):
        for problem in predicate(Log("one step", [payload]), ctx.judged):
            yield Violation(problem.message, problem.subject, problem.expected, problem.actual, {"case": name})


def accumulated(ctx: Context) -> Iterator[tuple[str, AccumulateRequest, Row]]:
    """Each case with what rank 0 is left with."""
    for name, request in cases.micro_steps():
        payload = numbers(ctx.value(ACCUMULATE, request).ranks[0])
        values = {k: v for k, v in payload.items() if not isinstance(v, str)}
        yield name, request, Row("train", None, 1, values)


@invariant(
    "metrics.required_keys",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="Stage-2 emits stage2_ab/b_ratio_realized, the invalid-rollout and strict-drop counters and, on steps that "
    "rolled out, rollout timing and throughput.",
    remedy="Log the realised ratio on every step whatever b_ratio is, and the counters on every Channel-B step.",
    spec=AUDIT,
)
def required_keys(ctx: Context) -> Iterator[Violation]:
    yield from judged_runs(ctx, contract.required_keys)


@invariant(
    "metrics.only_when_executed",
    boundary=BOUNDARY,
    severity="P1",
    kind="B",
    claim="A step that ran no rollout emits no time/rollout_*, and no zero that reads like a measurement.",
    remedy="Write a rollout metric only where a rollout ran; derive rates only where their terms were recorded.",
    spec=AUDIT,
)
def only_when_executed(ctx: Context) -> Iterator[Violation]:
    yield from judged_runs(ctx, contract.only_when_executed)


@invariant(
    "metrics.b_ratio_consistent",
    boundary=BOUNDARY,
    severity="P0",
    kind="A",
    claim="b_ratio_realized equals the share of Channel-B steps so far, and follows the schedule.",
    remedy="Count steps and B steps from the run's first step, and keep both counts in the checkpoint.",
    spec=AUDIT,
)
def b_ratio_consistent(ctx: Context) -> Iterator[Violation]:
    yield from with_runs(ctx, contract.b_ratio_consistent, _shares(ctx))


def _shares(ctx: Context) -> Iterator[Violation]:
    for name, request in cases.schedules():
        answer = ctx.value(REALIZED, request)
        if len(answer.ratios) != request.steps or len(answer.channels) != request.steps:
            yield Violation("the schedule does not answer every step", name, request.steps, len(answer.ratios))
            continue
        problems = list(contract.b_ratio_consistent(schedule_log(answer), ctx.judged))
        if problems:
            first = problems[0]
            text = f"{first.message} (first of {len(problems)} steps)" if len(problems) > 1 else first.message
            yield Violation(
                text, first.subject, first.expected, first.actual, {"case": name, "step": first.rows[0].step}
            )


def schedule_log(answer: RealizedResponse) -> Log:
    """A schedule's answer as a log with nothing but the channel's flags and the ratio."""
    rows = []
    for step, (channel, ratio) in enumerate(zip(answer.channels, answer.ratios, strict=True), 1):
        flags = {names.CHANNEL_A: float(channel == "A"), names.CHANNEL_B: float(channel == "B")}
        rows.append(Row("train", step, step, {**flags, names.RATIO_REALIZED: ratio}))
    return Log("the schedule", rows)


@invariant(
    "metrics.counters_are_counts",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="Counters are non-negative integers after accumulation and reduction (sums, not means).",
    remedy="Decide sum or mean by a declared kind for each metric, not by its prefix.",
    spec=f"{STAGE2} (global aggregation semantics: counters are global sums)",
)
def counters_are_counts(ctx: Context) -> Iterator[Violation]:
    yield from with_runs(ctx, contract.counters_are_counts, _summed(ctx))


def _summed(ctx: Context) -> Iterator[Violation]:
    yield from judged_steps(ctx, contract.counters_are_counts)
    for name, request, payload in accumulated(ctx):
        for key in cases.COUNTS:
            ctx.judged()
            expected = sum(m.metrics.get(key, 0.0) for rank in request.ranks for m in rank)
            if payload.values.get(key) != expected:
                message = f"{key} is not the sum over micro-steps and ranks"
                yield Violation(message, key, expected, payload.values.get(key), {"case": name})


@invariant(
    "metrics.reasons_add_up",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="The reason buckets sum to N_drop_invalid; rates equal numerator over denominator.",
    remedy="Reduce numerators and denominators over micro-steps and ranks, and divide once, at the end.",
    spec=f"{STAGE2} (rates: ratio of globally summed numerator and denominator)",
)
def reasons_add_up(ctx: Context) -> Iterator[Violation]:
    yield from with_runs(ctx, contract.reasons_add_up, _divided(ctx))


def _divided(ctx: Context) -> Iterator[Violation]:
    yield from judged_steps(ctx, contract.reasons_add_up)
    for name, request, payload in accumulated(ctx):
        ctx.judged()
        terms = [
            [m.metrics.get(f"rollout/_parse_truncated_{t}", 0.0) for r in request.ranks for m in r]
            for t in ("num", "den")
        ]
        expected, actual = sum(terms[0]) / sum(terms[1]), payload.values.get("rollout/parse_truncated_rate")
        if actual is None or abs(actual - expected) > contract.TOLERANCE:
            message = "rollout/parse_truncated_rate is not the quotient of the sums over micro-steps and ranks"
            yield Violation(message, "rollout/parse_truncated_rate", expected, actual, {"case": name})


@invariant(
    "metrics.identity_not_averaged",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="A value that identifies (a seed, a step, a checksum) is logged exactly, never averaged or summed over ranks "
    "or micro-steps.",
    remedy="Give identities a kind of their own: keep the one value, and refuse a second one that differs.",
    spec=f"{STAGE2} (rollout_seed_base is logged at least once per optimizer step)",
)
def identity_not_averaged(ctx: Context) -> Iterator[Violation]:
    yield from with_runs(ctx, contract.identity_not_averaged, _exact(ctx))


def _exact(ctx: Context) -> Iterator[Violation]:
    for name, _, payload in accumulated(ctx):
        ctx.judged()
        actual = payload.values.get("rollout/seed_base")
        if actual != cases.SEED:
            shown = "left out" if actual is None else f"logged as {actual:.6f}"
            message = f"rollout/seed_base, {cases.SEED} wherever it is recorded, is {shown}"
            yield Violation(message, "rollout/seed_base", cases.SEED, actual, {"case": name})


@invariant(
    "metrics.no_dilution",
    boundary=BOUNDARY,
    severity="P1",
    kind="B",
    claim="A gauge present on some micro-steps is averaged over those only.",
    remedy="Keep a weight for each gauge, and add to it only where the gauge is present; reduce both over ranks.",
    spec=f"{STAGE2} (global aggregation semantics)",
)
def no_dilution(ctx: Context) -> Iterator[Violation]:
    for name, request, expected in cases.partial_gauges():
        for rank, payload in enumerate(ctx.value(ACCUMULATE, request).ranks):
            ctx.judged()
            actual = numbers(payload).get(cases.GAUGE)
            if not isinstance(actual, (int, float)) or not abs(actual - expected) <= contract.TOLERANCE:
                message = f"a gauge {name} with a mean of {expected} there is logged as {actual}"
                yield Violation(message, cases.GAUGE, expected, actual, {"case": name, "rank": rank})


@invariant(
    "metrics.per_step_not_cumulative",
    boundary=BOUNDARY,
    severity="P1",
    kind="A",
    claim="A per-step timing does not grow as a running total.",
    remedy="Set a step's timers to zero when it is logged, or call the metric a running total in its name.",
    spec=f"{STAGE2} (time/*_s are wall-time seconds of the step)",
)
def per_step_not_cumulative(ctx: Context) -> Iterator[Violation]:
    yield from judged_runs(ctx, contract.per_step_not_cumulative)


@invariant(
    "metrics.finite",
    boundary=BOUNDARY,
    severity="P0",
    kind="A",
    claim="No NaN or infinity.",
    remedy="Stop at the first loss that is not finite; leave a metric out where it has no value.",
    spec=AUDIT,
)
def finite(ctx: Context) -> Iterator[Violation]:
    yield from judged_runs(ctx, contract.finite)


@invariant(
    "metrics.schema_stable",
    boundary=BOUNDARY,
    severity="P2",
    kind="A",
    claim="The key set of one channel does not change from step to step without a cause.",
    remedy="Write a counter also where it is 0, so that absence always means that nothing was measured.",
    spec=f"{STAGE2} (strict-drop counters and reason buckets are stable log keys on every Channel-B step)",
)
def schema_stable(ctx: Context) -> Iterator[Violation]:
    yield from judged_runs(ctx, contract.schema_stable)
