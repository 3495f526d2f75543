"""A gauge present on some micro-steps is averaged over those only.

Divided by all micro-steps, a loss that was measured on a few of them looks smaller by that factor, and falls or rises
with the packing instead of with the training.

Example: 0.5 on one of two micro-steps is logged as 0.5, not as 0.25."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.metrics import cases
from coordexp_audit_lib.boundaries.metrics import surfaces as s
from coordexp_audit_lib.boundaries.metrics.faults import averaged
from coordexp_audit_lib.boundaries.metrics.predicates import steps
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.finding import Violation


@claim(
    severity="P1",
    kind="B",
    remedy="Keep a weight for each gauge, and add to it only where the gauge is present; reduce both over ranks.",
)
def no_dilution(ctx: Context) -> cases.Found:
    one_by_one = [] if ctx.target.declaration() is None else cases.gauges_of_one_rank()
    for name, request, expected in (*cases.partial_gauges(), *one_by_one):
        answer = ctx.offered(name, s.ACCUMULATE, request)
        for rank, payload in enumerate(answer.value.ranks if answer else ()):
            ctx.judged()
            actual = s.numbers(payload).get(cases.GAUGE)
            if not isinstance(actual, (int, float)) or not abs(actual - expected) <= steps.TOLERANCE:
                message = f"a gauge {name} with a mean of {expected} there is logged as {actual}"
                yield Violation(message, cases.GAUGE, expected, actual, {"case": name, "rank": rank})


fault(no_dilution, "diluted", s.ACCUMULATE, "a gauge is divided by the weight of all micro-steps")(
    averaged(cases.GAUGE)
)
