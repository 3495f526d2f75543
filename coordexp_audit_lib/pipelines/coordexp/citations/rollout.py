"""Where CoordExp demands what the claims of the rollout boundary demand."""

from __future__ import annotations

from coordexp_audit_lib.pipelines.coordexp.citing import spec

VLLM = spec("rollout-matching-sft", "Rollout generation supports vLLM backends (colocate default, server optional)")
SERVERS = spec("rollout-matching-sft", "Stage_2 supports a 3v1 rollout-server + learner workflow (actors vs learner)")
DDP = spec("stage2-ab-training", "DDP-safe Channel-B execution semantics for multi-GPU learners")

CITATIONS = {
    "rollout.response_schema": (
        VLLM,
        SERVERS,
        spec("rollout-matching-sft", "Rollout generation returns token IDs (no grad) and selects one response"),
        spec("rollout-matching-sft", "Rollout schema validation ownership is centralized"),
    ),
    "rollout.request_schema": (VLLM,),
    "rollout.chunking": (
        SERVERS,
        spec("rollout-matching-sft", "vLLM server mode derives per-rank request chunking from server world size"),
    ),
    "rollout.seeds_nonzero": (
        spec("stage2-ab-training", "Channel-B rollout seeding is deterministic and logged"),
        SERVERS,
    ),
    "rollout.endpoints": (SERVERS,),
    "rollout.timeouts": (SERVERS,),
    "rollout.server_truth": (VLLM, SERVERS),
    "rollout.fail_together": (
        spec("stage2-ab-training", "Channel selection is deterministic and step-driven"),
        spec("stage2-ab-training", "Stage-2 critical invariants fail fast with contextual diagnostics"),
    ),
    "rollout.no_rank_conditional_collective": (DDP,),
}
