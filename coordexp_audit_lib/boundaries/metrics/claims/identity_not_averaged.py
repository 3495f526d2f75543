"""A value that identifies (a seed, a step, a checksum) is logged exactly, never averaged or summed over ranks or
micro-steps.

With the seed base of its step a rollout can be generated again. A mean of seeds is no seed: what the model learned from
on that step can't be repeated, though the log seems to say how.

Example: a seed base of 1000020 that is logged as 52084.375 was averaged with 91 micro-steps that had none."""

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


@claim(
    severity="P1",
    kind="B",
    remedy="Give identities a kind of their own: keep the one value, and refuse a second one that differs.",
)
def identity_not_averaged(ctx: Context) -> cases.Found:
    yield from cases.with_runs(ctx, steps.identity_not_averaged, _exact(ctx))


identity_not_averaged.on(Log, steps.identity_not_averaged)


def _exact(ctx: Context) -> cases.Found:
    key = vocabulary(ctx.contract).seed
    for name, _, payload in cases.accumulated(ctx):
        ctx.judged()
        actual = payload.values.get(key)
        if actual != cases.SEED:
            shown = "left out" if actual is None else f"logged as {actual:.6f}"
            message = f"{key}, {cases.SEED} wherever it is recorded, is {shown}"
            yield Violation(message, key, cases.SEED, actual, {"case": name})


fault(identity_not_averaged, "seed_of_mean", s.LOG, "the rollout seed is averaged with micro-steps without it")(
    edited(lambda row, words, _: scaled(row, words.seed, by=5 / 96))
)
fault(identity_not_averaged, "seed_of_sum", s.LOG, "the rollout seed is summed over the ranks")(
    edited(lambda row, words, _: scaled(row, words.seed, by=2))
)
fault(identity_not_averaged, "averaged_seed", s.ACCUMULATE, "a seed is averaged like a gauge")(
    averaged(lambda words: words.seed)
)
