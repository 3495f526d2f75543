"""b_ratio_realized equals the share of Channel-B steps so far, and follows the schedule.

The ratio is what a paper reports as the mixture of the two objectives. Where it lags, or counts from the last resume
or over a window, the run was trained on another mixture than the one reported.

Example: after A B B B it is 0.75; no `b_ratio` gives the order A A B A, so that schedule was not followed."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.metrics import cases
from coordexp_audit_lib.boundaries.metrics import surfaces as s
from coordexp_audit_lib.boundaries.metrics.faults import Logged, edited, is_b
from coordexp_audit_lib.boundaries.metrics.predicates import series
from coordexp_audit_lib.boundaries.metrics.predicates.log import Log, Row
from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import Vocabulary, vocabulary
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, answered, fault
from coordexp_audit_lib.core.finding import Violation


@claim(
    severity="P1",
    kind="A",
    remedy="Count steps and B steps from the run's first step, and keep both counts in the checkpoint.",
)
def b_ratio_consistent(ctx: Context) -> cases.Found:
    yield from cases.with_runs(ctx, series.b_ratio_consistent, _schedules(ctx))


b_ratio_consistent.on(Log, series.b_ratio_consistent)


def _schedules(ctx: Context) -> cases.Found:
    for name, request in cases.schedules():
        answer = ctx.value(s.REALIZED, request)
        if len(answer.ratios) != request.steps or len(answer.channels) != request.steps:
            yield Violation("the schedule does not answer every step", name, request.steps, len(answer.ratios))
            continue
        problems = list(series.b_ratio_consistent(_log(ctx, answer), ctx))
        if problems:
            first, many = problems[0], f" (first of {len(problems)} steps)" if len(problems) > 1 else ""
            shown = {"case": name, "step": first.counterexample["steps"][0]}
            yield Violation(first.message + many, first.subject, first.expected, first.actual, shown)


def _log(ctx: Context, answer: s.RealizedResponse) -> Log:
    """A schedule's answer as a log with nothing but the channel's flags and the ratio."""
    words, rows = vocabulary(ctx.contract), []
    for step, (channel, ratio) in enumerate(zip(answer.channels, answer.ratios, strict=True), 1):
        flags = {words.channel_a: float(channel == "A"), words.channel_b: float(channel == "B")}
        rows.append(Row("train", step, step, {**flags, words.ratio: ratio}, channel=channel))
    return Log("the schedule", rows, words)


def lag(row: Logged, words: Vocabulary, index: int) -> None:
    b_steps = round(float(row[words.ratio]) * (index + 1)) - is_b(row, words)
    row[words.ratio] = b_steps / max(1, index)


fault(b_ratio_consistent, "lagging_ratio", s.LOG, "the ratio is that of the step before")(edited(lag))
fault(b_ratio_consistent, "rolling_ratio", s.REALIZED, "the ratio is over the last 200 steps")(
    answered(ratios=lambda made: series.shares(made.channels, series.WINDOW))
)


@fault(b_ratio_consistent, "b_first", s.REALIZED, "all B steps of a hundred come first")
def b_first(request: s.RealizedRequest, honest: Honest) -> s.RealizedResponse:
    channels = "".join("B" if step % 100 < 100 * request.b_ratio else "A" for step in range(request.steps))
    return s.RealizedResponse(channels, series.shares(channels))
