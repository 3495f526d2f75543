"""Where CoordExp demands what the claims of `upstream` demand."""

from coordexp_audit_lib.pipelines.coordexp.citing import audit, matching, spec, stage2

TESTED = audit("Upstream integration surfaces have CPU-only contract tests")
UNPATCHED = stage2("Stage-2 AB remains compatible with ms-swift and Transformers (no upstream patches)")
SERVED = matching("Rollout generation supports vLLM backends (colocate default, server optional)")

CITATIONS = {
    "upstream.trainer_helpers": (TESTED, spec("coord_offset", "Dedicated optimizer buckets for coord offsets")),
    "upstream.request_config": (
        TESTED,
        matching("Rollout generation returns token IDs (no grad) and selects one response"),
    ),
    "upstream.infer_request": (TESTED, SERVED),
    "upstream.template_surface": (UNPATCHED, spec("packing-dataset", "Multimodal field preservation and position_ids")),
    "upstream.qwen3vl_surface": (
        UNPATCHED,
        stage2("Channel-A forward path is compatible with Qwen3-VL multimodal semantics"),
    ),
    "upstream.rollout_cli": (matching("Stage_2 supports a 3v1 rollout-server + learner workflow (actors vs learner)"),),
    "upstream.client_surface": (SERVED, UNPATCHED),
    "upstream.versions_matrix": (audit("Upstream dependency provenance is recorded in run artifacts"), TESTED),
}
