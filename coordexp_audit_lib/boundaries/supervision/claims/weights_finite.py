"""The weights stay numbers, whatever the log shows.

One loss that is no number makes every weight none, if its gradient is applied; from then on nothing is trained. The
trainer's log hides it: by default it puts the mean of the losses before in its place, and only that. A scaler that
leaves out such a step keeps the weights, and then nothing is wrong.

Example: `logging_nan_inf_filter=True` and `max_grad_norm=0`: the log goes on with finite losses, each weight is NaN."""

from __future__ import annotations

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases.training import of_run
from coordexp_audit_lib.boundaries.supervision.predicates import running
from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.claim import artifact_claim
from coordexp_audit_lib.core.fault import spoil

weights_finite = artifact_claim(
    id="supervision.weights_finite",
    doc=__doc__,
    severity="P0",
    remedy="Find the batch whose loss is no number: a label mask without tokens, a logarithm of 0, an overflow; go "
    "back to the checkpoint before that step.",
    spec=(
        Citation(
            "huggingface/transformers",
            "src/transformers/training_args.py",
            "TrainingArguments.logging_nan_inf_filter",
            "v4.57.6",
        ),
    ),
    on={running.Weights: running.weights_finite},
    asks=of_run(lambda run: run.weights, "no parameter was looked at"),
)

spoil(weights_finite, "weights_lost", "a NaN gradient is applied", lambda: running.Weights(5, 4))(
    lambda seen: replace(seen, lost=["norm.weight"])
)
spoil(weights_finite, "first_step_lost", "no weight is a number after the first step", lambda: running.Weights(1, 2))(
    lambda seen: replace(seen, lost=["embed.weight", "norm.weight"])
)
spoil(
    weights_finite, "adapter_lost", "of many weights one of an adapter is lost late", lambda: running.Weights(900, 500)
)(lambda seen: replace(seen, lost=["layers.3.q_proj.lora_B.weight"]))
