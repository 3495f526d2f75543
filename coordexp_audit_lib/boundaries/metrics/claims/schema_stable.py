"""The key set of one channel does not change from step to step without a cause.

Where a counter is written only if it is not 0, its absence means two things: nothing was dropped, or nothing was
counted. Means over the steps at hand are then means over the bad steps.

Example: a reason bucket that stands in 2 of 6 Channel-B rows is a violation; `snapshot/*` may come and go."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.metrics import cases
from coordexp_audit_lib.boundaries.metrics import surfaces as s
from coordexp_audit_lib.boundaries.metrics.faults import edited
from coordexp_audit_lib.boundaries.metrics.predicates import series
from coordexp_audit_lib.boundaries.metrics.predicates.log import Log
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault


@claim(
    severity="P2",
    kind="A",
    remedy="Write a counter also where it is 0, so that absence always means that nothing was measured.",
)
def schema_stable(ctx: Context) -> cases.Found:
    yield from cases.judged_runs(ctx, series.schema_stable)


schema_stable.on(Log, series.schema_stable)

fault(schema_stable, "sparse_buckets", s.LOG, "a reason bucket is logged where it is not 0")(
    edited(lambda row, words, _: [row.pop(k) for k, v in [*row.items()] if k.startswith(words.reason) and v == 0])
)
