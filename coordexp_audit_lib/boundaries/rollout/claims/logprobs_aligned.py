"""The mask is on where the sampled tokens are, and under it stand their own log-probabilities.

A mask that is shifted by one against the log-probabilities gives each token the ratio of its neighbour: the loss is
finite, its gradient is noise. Log-probabilities of the server are compared exactly, as far as bfloat16 tells; those of
the trainer's own forward only where a shift by one fits far better.

Example: `completion_mask` counts from the prompt's last token, the log-probabilities from the first sampled one."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.rollout.faults import changed_row, exchange
from coordexp_audit_lib.boundaries.rollout.predicates import exchanges
from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.claim import artifact_claim
from coordexp_audit_lib.core.fault import spoil

logprobs_aligned = artifact_claim(
    id="rollout.logprobs_aligned",
    doc=__doc__,
    severity="P0",
    remedy="Cut log-probabilities and mask from the same places: entry i of both is of token i of the response.",
    spec=(
        Citation(
            "huggingface/trl", "trl/trainer/grpo_trainer.py", "GRPOTrainer._generate_and_score_completions", "v1.16.0"
        ),
    ),
    on={exchanges.Exchanged: exchanges.logprobs_aligned},
)

spoil(logprobs_aligned, "mask_late", "the mask begins and ends one token late", exchange)(
    changed_row(supervised=lambda marks, at: [False, *marks[:-1]])
)
spoil(logprobs_aligned, "logprobs_early", "the log-probabilities are those of the next tokens", exchange)(
    changed_row(logprobs=lambda values, at: [*values[1:], values[0]])
)
spoil(logprobs_aligned, "mask_early", "the mask begins and ends one token early", exchange)(
    changed_row(supervised=lambda marks, at: [*marks[1:], False])
)
