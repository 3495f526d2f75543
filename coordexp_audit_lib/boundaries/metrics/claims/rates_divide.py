"""A rate whose terms are logged is their quotient.

A rate that is a mean of rates weighs a rank with one prediction like a rank with a hundred, and one whose terms were
reduced in another way than itself says nothing at all.

Example: 1 of 1 and 1 of 9 are 2 of 10, a precision of 0.2; the mean of the two is 0.56."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.metrics import cases
from coordexp_audit_lib.boundaries.metrics import surfaces as s
from coordexp_audit_lib.boundaries.metrics.faults import edited, scaled
from coordexp_audit_lib.boundaries.metrics.predicates import steps
from coordexp_audit_lib.boundaries.metrics.predicates.log import Log
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.finding import Violation


@claim(
    severity="P1",
    root="metrics.counters_are_counts",
    kind="B",
    remedy="Reduce numerators and denominators over micro-steps and ranks, and divide once, at the end.",
)
def rates_divide(ctx: Context) -> cases.Found:
    yield from cases.with_runs(ctx, steps.rates_divide, _divided(ctx))


rates_divide.on(Log, steps.rates_divide)


def _divided(ctx: Context) -> cases.Found:
    yield from cases.judged_steps(ctx, steps.rates_divide)
    for name, request, payload in cases.accumulated(ctx):
        ctx.judged()
        over, under = (
            sum(m.metrics.get(f"rollout/_parse_truncated_{term}", 0.0) for rank in request.ranks for m in rank)
            for term in ("num", "den")
        )
        key = "rollout/parse_truncated_rate"
        expected, actual = over / under, payload.values.get(key)
        if actual is None or abs(actual - expected) > steps.TOLERANCE:
            message = f"{key} is not the quotient of the sums over micro-steps and ranks"
            yield Violation(message, key, expected, actual, {"case": name})


fault(rates_divide, "mean_of_rates", s.LOG, "precision is the mean of the ranks' precisions")(
    edited(lambda row, words, _: scaled(row, "rollout/precision", by=0.9))
)
