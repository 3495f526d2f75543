"""No NaN or infinity.

A loss that is not finite has no gradient to learn from; what follows it in the log is what is left of the model. A NaN
in a rate is a missing measurement that a mean over steps makes of the whole curve.

Example: `"loss": NaN` at step 3 is a violation at step 3, and `"loss": null` is one too."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.metrics import cases
from coordexp_audit_lib.boundaries.metrics import surfaces as s
from coordexp_audit_lib.boundaries.metrics.artifact.run import Unread, unread
from coordexp_audit_lib.boundaries.metrics.faults import edited, is_b
from coordexp_audit_lib.boundaries.metrics.predicates import steps
from coordexp_audit_lib.boundaries.metrics.predicates.log import Log
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault


@claim(
    severity="P0",
    kind="A",
    remedy="Stop at the first loss that is not finite; leave a metric out where it has no value.",
)
def finite(ctx: Context) -> cases.Found:
    yield from cases.judged_runs(ctx, steps.finite)


finite.on(Log, steps.finite)
finite.on(Unread, unread)

fault(finite, "nan_loss", s.LOG, "the third step's loss is NaN")(
    edited(lambda row, words, index: row.update({"loss": "nan"} if index == 2 else {}))
)
fault(finite, "infinite_loss", s.LOG, "the last step's loss is infinite, once its sum has overflowed")(
    edited(lambda row, words, index: row.update({"loss": "inf"} if index == 1 else {}))
)
fault(finite, "rate_over_nothing", s.LOG, "a rate is NaN in steps in which nothing was generated")(
    edited(lambda row, words, index: None if is_b(row, words) else row.update({words.throughput: "nan"}))
)
