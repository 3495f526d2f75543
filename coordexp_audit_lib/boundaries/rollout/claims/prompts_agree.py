"""The server generated from the very ids that the batch has before the response.

With another system prompt, another template, another cut or other pictures on one side, the answer was sampled under a
condition that the model is not trained under: the log-probabilities of both sides are of different texts.

Example: the server renders a default system prompt and the trainer none: the prompts part at token 3."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.rollout.faults import changed_row, exchange
from coordexp_audit_lib.boundaries.rollout.predicates import exchanges
from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.claim import artifact_claim
from coordexp_audit_lib.core.fault import spoil

prompts_agree = artifact_claim(
    id="rollout.prompts_agree",
    doc=__doc__,
    severity="P0",
    remedy="Send token ids instead of messages, or render both sides with one template and one `max_length`.",
    spec=(
        Citation(
            "huggingface/trl", "trl/trainer/grpo_trainer.py", "GRPOTrainer._generate_and_score_completions", "v1.16.0"
        ),
    ),
    on={exchanges.Exchanged: exchanges.prompts_agree},
)

spoil(prompts_agree, "another_prompt", "the batch has another token in its prompt", exchange)(
    changed_row(lambda ids, at: [*ids[:1], 998, *ids[2:]])
)
spoil(prompts_agree, "prompt_end_other", "the last token of the prompt is another in the batch", exchange)(
    changed_row(lambda ids, at: [*ids[: at - 1], 998, *ids[at:]])
)
spoil(prompts_agree, "prompt_swapped", "two tokens of the prompt stand the other way round", exchange)(
    changed_row(lambda ids, at: [ids[1], ids[0], *ids[2:]])
)
