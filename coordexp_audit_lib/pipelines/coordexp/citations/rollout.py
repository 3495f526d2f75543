"""Where CoordExp demands what the claims of the rollout boundary demand."""

from coordexp_audit_lib.pipelines.coordexp.citing import matching, stage2

VLLM = matching("Rollout generation supports vLLM backends (colocate default, server optional)")
SERVERS = matching("Stage_2 supports a 3v1 rollout-server + learner workflow (actors vs learner)")
DDP = stage2("DDP-safe Channel-B execution semantics for multi-GPU learners")

CITATIONS = {
    "rollout.response_schema": (
        VLLM,
        SERVERS,
        matching("Rollout generation returns token IDs (no grad) and selects one response"),
        matching("Rollout schema validation ownership is centralized"),
    ),
    "rollout.request_schema": (VLLM,),
    "rollout.chunking": (
        SERVERS,
        matching("vLLM server mode derives per-rank request chunking from server world size"),
    ),
    "rollout.seeds_nonzero": (stage2("Channel-B rollout seeding is deterministic and logged"), SERVERS),
    "rollout.endpoints": (SERVERS,),
    "rollout.timeouts": (SERVERS,),
    "rollout.fail_together": (
        stage2("Channel selection is deterministic and step-driven"),
        stage2("Stage-2 critical invariants fail fast with contextual diagnostics"),
        stage2("Channel-B vLLM rollouts honor repeat-aware termination settings"),  # what says that metrics are global
    ),
    "rollout.no_rank_conditional_collective": (DDP,),
}

PERMITTED = {"": {"rollout.server_truth": "answers carry no id; the client relies on the server's order"}}

BEYOND = {
    "": {
        "rollout.no_rank_conditional_collective": (
            (r"^(?!.*(Stage2|Rollout|rollout|channel_b))", "its clause is about Channel-B"),
        ),
        "rollout.response_schema": (("a bool among ints", "it wants ids, and says nothing of bools"),),
    },
    "2026-05": {"rollout.fail_together": (("the ranks report different metrics", "it is about steps, not metrics"),)},
}
