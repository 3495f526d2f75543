"""Counters are non-negative integers after accumulation and reduction (sums, not means), and count each case once.

A count that was averaged over micro-steps or ranks depends on how the batch was cut. Rates made of it are wrong, and so
is every statement on how many records a run was trained on or dropped.

Example: 4 rollouts on one rank and 5 on the other are 9; a mean over the ranks logs 4.5. Three rollouts without a
container in one batch are 3 invalid ones."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.metrics import cases
from coordexp_audit_lib.boundaries.metrics import surfaces as s
from coordexp_audit_lib.boundaries.metrics.faults import averaged, edited, scaled
from coordexp_audit_lib.boundaries.metrics.predicates import steps
from coordexp_audit_lib.boundaries.metrics.predicates.log import Log
from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import vocabulary
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.finding import Violation


@claim(severity="P1", kind="B", remedy="Decide sum or mean by a declared kind for each metric, not by its prefix.")
def counters_are_counts(ctx: Context) -> cases.Found:
    yield from cases.with_runs(ctx, steps.counters_are_counts, _summed(ctx))
    if ctx.answers(s.LOG):
        yield from _each(ctx)


counters_are_counts.on(Log, steps.counters_are_counts)


def _summed(ctx: Context) -> cases.Found:
    yield from cases.judged_steps(ctx, steps.counters_are_counts)
    for name, request, payload in cases.accumulated(ctx):
        for key in cases.counts(vocabulary(ctx.contract)):
            ctx.judged()
            expected = sum(m.metrics.get(key, 0.0) for rank in request.ranks for m in rank)
            if payload.values.get(key) != expected:
                message = f"{key} is not the sum over micro-steps and ranks"
                yield Violation(message, key, expected, payload.values.get(key), {"case": name})


def _each(ctx: Context) -> cases.Found:
    """Of steps whose rollouts leave no doubt what is to be counted, the counts that are logged."""
    words = vocabulary(ctx.contract)
    for name, request in cases.runs():
        rows = s.log_of(ctx.value(s.LOG, request), words).rows
        for row, ranks in zip(rows, request.rollouts, strict=False):
            expected = cases.counted([text for rank in ranks for text in rank], words)
            if row.channel != "B" or expected is None:
                continue
            for key, count in expected.items():
                if key not in row.values:
                    continue  # that it is not logged is another claim's
                ctx.judged()
                if row.values[key] != count:
                    message = f"{row.name}: {key} is not how many there were"
                    yield Violation(message, key, count, row.values[key], {"case": name, "step": row.step})


fault(counters_are_counts, "once_a_batch", s.LOG, "an invalid rollout is counted once a step at most")(
    edited(lambda row, words, _: row.update({k: min(1.0, float(v)) for k, v in row.items() if k == words.invalid}))
)
fault(counters_are_counts, "mean_counter", s.LOG, "the strict-drop counters are means over the ranks")(
    edited(lambda row, words, _: scaled(row, words.valid, words.dropped, by=0.5))
)
fault(counters_are_counts, "negative_counter", s.LOG, "a counter is logged as a difference")(
    edited(lambda row, words, _: row.update({"train/samples_total": -1.0}))
)
fault(
    counters_are_counts,
    "averaged_counts",
    s.ACCUMULATE,
    "N_drop_invalid is a mean over the micro-steps",
    also=("metrics.reasons_add_up",),
)(averaged(lambda words: words.dropped))
