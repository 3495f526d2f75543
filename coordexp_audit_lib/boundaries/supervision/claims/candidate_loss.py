"""The loss of a step with several targets is cross-entropy against their shares, or its two parts with the weights that
are set; with one target it is plain cross-entropy; the loss of a row is the mean of its steps.

The two parts are minus the log of the mass on all targets, and the cross-entropy of how that mass is divided. A loss
that is normalised over the targets alone has no word on their mass, so the model is free to say anything else; one that
sums over steps weighs an image by the length of its annotation.

Example: two targets of 1/2 each with probabilities 0.2 and 0.2 have the loss 1.609 under the weights 1 and 1."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.supervision.predicates import candidates
from coordexp_audit_lib.boundaries.supervision.surfaces.continuation import (
    CANDIDATE_LOSS,
    CandidateLoss,
    CandidateLossRequest,
    TargetStep,
)
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, asked, fault
from coordexp_audit_lib.core.finding import Violation

SIZE = 12
WEIGHTS = ((1.0, 1.0), (2.0, 1.0), (1.0, 0.25))
STEPS = (
    TargetStep(3, [(3, 1.0)]),
    TargetStep(2, [(2, 0.5), (7, 0.5)]),
    TargetStep(5, [(1, 0.25), (5, 0.5), (9, 0.25)]),
    TargetStep(8, [(8, 1.0)]),
)


@claim(severity="P0", kind="B", remedy="Take the log-probabilities over the whole vocabulary, and average over steps.")
def candidate_loss(ctx: Context) -> Iterator[Violation]:
    for support, balance in WEIGHTS:
        rng = ctx.rng("logits", support, balance)
        rows = [[round(rng.uniform(-4, 4), 3) for _ in range(SIZE)] for _ in STEPS]
        answer = ctx.value(CANDIDATE_LOSS, CandidateLossRequest(rows, list(STEPS), support, balance))
        found = candidates.losses(rows, STEPS, (support, balance), (answer.loss, answer.single), ctx)
        for p in found:
            yield p.violation(f"weights {support} and {balance}", {"steps": [list(s.targets) for s in STEPS]})


fault(candidate_loss, "balance_forgotten", CANDIDATE_LOSS, "how the mass is divided among the targets costs nothing")(
    asked(balance=lambda request: 0.0)
)
fault(candidate_loss, "teacher_only", CANDIDATE_LOSS, "cross-entropy against the token that is written alone")(
    asked(steps=lambda request: [TargetStep(s.teacher, [(s.teacher, 1.0)]) for s in request.steps])
)


@fault(candidate_loss, "summed", CANDIDATE_LOSS, "the loss of a row is the sum of its steps")
def summed(request: CandidateLossRequest, honest: Honest) -> CandidateLoss:
    made = honest(request)
    return CandidateLoss(sum(made.single), made.single)
