"""Stage-2 emits stage2_ab/b_ratio_realized, the invalid-rollout and strict-drop counters and, on steps that rolled out,
rollout timing and throughput.

These numbers alone say what the run was trained on: how many steps learned from rollouts, and how many predictions were
dropped before the loss saw them. A run without them can't be told from one that dropped everything.

Example: a Channel-B step that logs no `rollout/gen_tokens_per_s` is a violation; a Channel-A step need not have it."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.metrics import cases
from coordexp_audit_lib.boundaries.metrics import surfaces as s
from coordexp_audit_lib.boundaries.metrics.faults import edited, is_b
from coordexp_audit_lib.boundaries.metrics.predicates import steps
from coordexp_audit_lib.boundaries.metrics.predicates.log import Log
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault


@claim(
    severity="P1",
    kind="B",
    remedy="Log the realised ratio on every step whatever b_ratio is, and the counters on every Channel-B step.",
)
def required_keys(ctx: Context) -> cases.Found:
    yield from cases.judged_runs(ctx, steps.required_keys)


required_keys.on(Log, steps.required_keys)

fault(required_keys, "no_throughput", s.LOG, "throughput is logged by no step")(
    edited(lambda row, words, _: row.pop(words.throughput, None))
)
fault(required_keys, "ratio_unlogged", s.LOG, "the realised ratio is logged on Channel-B steps only")(
    edited(lambda row, words, _: is_b(row, words) or row.pop(words.ratio))
)
