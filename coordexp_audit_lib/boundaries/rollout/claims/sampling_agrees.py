"""Temperature and cuts are the same where an answer is sampled and where it is trained.

The ratio of log-probabilities is 1 at the start only if both sides divide by one temperature. An answer that was cut is
no answer that ended: an end of turn that is supervised behind it teaches to stop in the middle, and one that the batch
cuts further loses the end that the model did sample.

Example: `finish_reason` is `length`, and the batch supervises `<|im_end|>` behind the last sampled token."""

from __future__ import annotations

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.rollout.faults import changed_row, exchange
from coordexp_audit_lib.boundaries.rollout.predicates import exchanges
from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.claim import artifact_claim
from coordexp_audit_lib.core.fault import spoil

sampling_agrees = artifact_claim(
    id="rollout.sampling_agrees",
    doc=__doc__,
    severity="P1",
    remedy="Give both sides one temperature and one limit; append nothing to an answer that ended by `length`.",
    spec=(
        Citation("huggingface/trl", "trl/trainer/grpo_trainer.py", "GRPOTrainer.__init__", "v1.16.0"),
        Citation("huggingface/trl", "trl/trainer/grpo_config.py", "GRPOConfig.mask_truncated_completions", "v1.16.0"),
    ),
    on={exchanges.Exchanged: exchanges.sampling_agrees},
)

spoil(sampling_agrees, "another_temperature", "the trainer takes another temperature", exchange)(
    lambda made: replace(made, temperature=0.5)
)
spoil(sampling_agrees, "end_behind_a_cut", "an end of turn is supervised behind an answer that was cut", exchange)(
    changed_row(
        lambda ids, at: [*ids, 7],
        supervised=lambda marks, at: [*marks, True],
        logprobs=lambda values, at: [*values, 0.0],
        sampled=lambda marks, at: [*marks, False],
        finish="length",
    )
)
