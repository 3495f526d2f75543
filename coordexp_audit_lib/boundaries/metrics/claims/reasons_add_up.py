"""The reason buckets sum to N_drop_invalid.

Buckets that do not add up hide a reason for which predictions never reach the loss, or count one record twice.

Example: a record whose coordinates read like a box, but are no coordinate tokens, is one in `wrong_arity` and one in
all."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.metrics import cases
from coordexp_audit_lib.boundaries.metrics import surfaces as s
from coordexp_audit_lib.boundaries.metrics.faults import edited, scaled
from coordexp_audit_lib.boundaries.metrics.predicates import steps
from coordexp_audit_lib.boundaries.metrics.predicates.log import Log
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault


@claim(severity="P1", kind="B", remedy="Count each dropped record once, under the one reason that it is dropped for.")
def reasons_add_up(ctx: Context) -> cases.Found:
    yield from cases.with_runs(ctx, steps.reasons_add_up, cases.judged_steps(ctx, steps.reasons_add_up))


reasons_add_up.on(Log, steps.reasons_add_up)

fault(reasons_add_up, "lost_reason", s.LOG, "records with a box of three numbers are in no bucket")(
    edited(lambda row, words, _: scaled(row, f"{words.reason}wrong_arity", by=0.0))
)
fault(reasons_add_up, "dropped_twice", s.LOG, "a record whose coordinates are no tokens counts twice as dropped")(
    edited(lambda row, words, _: scaled(row, words.dropped, by=2.0))
)
