"""A step that ran no rollout emits no time/rollout_*, and no zero that reads like a measurement.

Curves are averaged over steps. A precision of 0 on steps that predicted nothing lowers the mean by the share of
Channel-A steps, and two runs with other schedules can't be compared.

Example: with `b_ratio` 0.75, a `rollout/precision` of 0.4 that is 0 on every fourth step averages to 0.3."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.metrics import cases
from coordexp_audit_lib.boundaries.metrics import surfaces as s
from coordexp_audit_lib.boundaries.metrics.faults import edited
from coordexp_audit_lib.boundaries.metrics.predicates import steps
from coordexp_audit_lib.boundaries.metrics.predicates.log import Log
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault


@claim(
    severity="P1",
    kind="B",
    remedy="Write a rollout metric only where a rollout ran; derive rates only where their terms were recorded.",
)
def only_when_executed(ctx: Context) -> cases.Found:
    yield from cases.judged_runs(ctx, steps.only_when_executed, cases.runs()[:1])


only_when_executed.on(Log, steps.only_when_executed)

fault(only_when_executed, "zero_timings", s.LOG, "a step without a rollout logs its seconds as 0")(
    edited(lambda row, words, _: row.setdefault(words.generate, 0.0))
)
fault(only_when_executed, "zero_rates", s.LOG, "a step without a rollout logs a precision of 0")(
    edited(lambda row, words, _: row.setdefault("rollout/precision", 0.0))
)
