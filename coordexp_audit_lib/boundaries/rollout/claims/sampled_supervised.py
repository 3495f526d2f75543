"""The response in the batch is the ids that the server sampled, with no decoding and encoding between.

Text that is encoded again is cut into other tokens than were sampled: the gradient, the ratio of log-probabilities and
the advantage then belong to an answer that the model never gave, and nothing fails. A row may hold fewer tokens than
were sampled (`rollout.sampling_agrees` asks that), never others.

Example: sampled `[{", "desc` as tokens 58, 4913 and 8614; the batch has 27569 in the place of the first two."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.rollout.faults import changed_row, exchange
from coordexp_audit_lib.boundaries.rollout.predicates import exchanges
from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.claim import artifact_claim
from coordexp_audit_lib.core.fault import spoil

sampled_supervised = artifact_claim(
    id="rollout.sampled_supervised",
    doc=__doc__,
    severity="P0",
    remedy="Hand the server's ids to the batch as they are; ask for them (`return_details`, `return_token_ids`).",
    spec=(
        Citation("modelscope/ms-swift", "swift/llm/infer/protocol.py", "RolloutOutput.response_token_ids", "v3.10.3"),
        Citation(
            "huggingface/trl", "trl/trainer/grpo_trainer.py", "GRPOTrainer._generate_and_score_completions", "v1.16.0"
        ),
    ),
    on={exchanges.Exchanged: exchanges.sampled_supervised},
)

spoil(sampled_supervised, "encoded_again", "two sampled tokens are another in the batch", exchange)(
    changed_row(lambda ids, at: [*ids[: at + 2], 999, *ids[at + 4 :]])
)
spoil(sampled_supervised, "first_other", "the first sampled token is another in the batch", exchange)(
    changed_row(lambda ids, at: [*ids[:at], 999, *ids[at + 1 :]])
)
spoil(sampled_supervised, "neighbours_swapped", "two sampled tokens stand the other way round", exchange)(
    changed_row(lambda ids, at: [*ids[: at + 3], ids[at + 4], ids[at + 3], *ids[at + 5 :]])
)
