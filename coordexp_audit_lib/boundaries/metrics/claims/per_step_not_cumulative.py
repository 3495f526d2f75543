"""A per-step timing does not grow as a running total.

What a step costs is read from these curves, and which part of it rollouts are. A total that is never reset makes every
step look slower than the one before, and stands in steps that ran no rollout at all.

Example: 86, 170, 254, 339 s is a running total of about 85 s a step."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.metrics import cases
from coordexp_audit_lib.boundaries.metrics import surfaces as s
from coordexp_audit_lib.boundaries.metrics.faults import edited
from coordexp_audit_lib.boundaries.metrics.predicates import series
from coordexp_audit_lib.boundaries.metrics.predicates.log import Log
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault


@claim(
    severity="P1",
    kind="A",
    remedy="Set a step's timers to zero when it is logged, or call the metric a running total in its name.",
)
def per_step_not_cumulative(ctx: Context) -> cases.Found:
    yield from cases.judged_runs(ctx, series.per_step_not_cumulative, cases.runs()[:1])


per_step_not_cumulative.on(Log, series.per_step_not_cumulative)

fault(per_step_not_cumulative, "running_seconds", s.LOG, "a timer is never set to zero")(
    edited(lambda row, words, index: row.update({"time/forward_s": float(row["time/forward_s"]) + 1.5 * index}))
)
