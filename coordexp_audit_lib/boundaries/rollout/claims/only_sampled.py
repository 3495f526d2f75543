"""Nothing before the first sampled token is supervised: no prompt, and no beginning of the response that nobody
sampled.

A template may begin the answer itself (`<think>`, an opening bracket), and the server then generates from there. If the
trainer takes that beginning for a part of the response, its tokens are rewarded or punished for what the model had no
choice in. What stands behind a finished answer (the end of the turn, if the server does not return it) is told only.

Example: `response_prefix="<think>\\n"`: the two tokens are in the server's prompt and supervised in the batch."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.rollout.faults import changed_row, exchange
from coordexp_audit_lib.boundaries.rollout.predicates import exchanges
from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.claim import artifact_claim
from coordexp_audit_lib.core.fault import spoil

only_sampled = artifact_claim(
    id="rollout.only_sampled",
    doc=__doc__,
    severity="P1",
    remedy="Mask what the template adds to the answer; begin the mask where the server's prompt ends.",
    spec=(
        Citation("modelscope/ms-swift", "swift/llm/infer/protocol.py", "RolloutOutput.response_loss_mask", "v3.10.3"),
    ),
    on={exchanges.Exchanged: exchanges.only_sampled},
)

spoil(only_sampled, "prefix_supervised", "the token before the first sampled one is supervised", exchange)(
    changed_row(supervised=lambda marks, at: [*marks[: at - 1], True, *marks[at:]])
)
