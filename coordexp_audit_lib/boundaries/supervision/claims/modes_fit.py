"""An evaluation drops nothing at random, and training is not in evaluation mode.

With dropout active an evaluation is worse than the model and differs from time to time; a model that was left in
evaluation mode trains without the regularisation that its config names. A program may mean either, so that this is told
and stops nothing.

Example: an own evaluation loop that calls `model.train()`, or a `compute_metrics` that leaves the model so."""

from __future__ import annotations

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases.training import of_run
from coordexp_audit_lib.boundaries.supervision.predicates import running
from coordexp_audit_lib.core.claim import artifact_claim
from coordexp_audit_lib.core.fault import spoil

modes_fit = artifact_claim(
    id="supervision.modes_fit",
    doc=__doc__,
    severity="P2",
    remedy="Call `model.eval()` before an evaluation and `model.train()` before the next step.",
    on={running.Modes: running.modes_fit},
    asks=of_run(lambda run: run.modes),
)


def _sound() -> running.Modes:
    return running.Modes(evaluations=2, steps=8)


spoil(modes_fit, "dropout_in_evaluation", "an evaluation drops at random", _sound)(
    lambda seen: replace(seen, active=["layers.0.dropout"])
)
spoil(modes_fit, "training_in_evaluation_mode", "the model is left in evaluation mode", _sound)(
    lambda seen: replace(seen, resting=["layers.0.dropout"])
)
