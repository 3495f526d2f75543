"""Where CoordExp demands what the claims on its Stage-2 trainer demand."""

from coordexp_audit_lib.pipelines.coordexp.citing import matching, newest, spec, stage2

OBJECTIVE = stage2("Hybrid objective preserves JSON structure CE and adds bbox geometry losses")
SOFTCTX = stage2("Channel-A performs iterative soft self-context via N× full-forwards (no rollout)")
APPEND = matching("Mandatory FN append (recall recovery)")
TARGET = matching("Single-path training constructs one canonical teacher-forced target sequence")
CHANNEL_B = stage2("Channel-B reuses rollout-matching infra (strict parse/match + mandatory FN append)")
UNPATCHED = stage2("Stage-2 AB remains compatible with ms-swift and Transformers (no upstream patches)")

SET_CONTINUATION, CHANGE = "stage1-set-continuation-training", "add-stage1-set-continuation-training"
TRIE = newest(
    SET_CONTINUATION,
    "Entry-trie RMP applies MP at every object-entry divergence node",
    "add-stage1-et-rmp-ce-objective",
)
REGISTRY = "teacher-forcing-unified-loss-registry"

CITATIONS = {
    "supervision.candidate_targets": (TRIE,),
    "supervision.candidate_loss": (TRIE, newest(REGISTRY, "Canonical loss scalars are mean-like (scale-invariant)")),
    "supervision.suffix_taught": (
        newest(
            SET_CONTINUATION,
            "Stage-1 set-continuation supports recursive full-suffix objectives",
            "add-stage1-et-rmp-ce-objective",
        ),
    ),
    "supervision.branch_scored": (
        newest(SET_CONTINUATION, "Canonical object-entry and closure spans are index based", CHANGE),
        newest(SET_CONTINUATION, "Structural-close losses do not target chat EOS", CHANGE),
    ),
    "supervision.subset_sampling": (
        newest(SET_CONTINUATION, "Subset prefix sampling is deterministic and configurable", CHANGE),
        newest(SET_CONTINUATION, "Candidate scoring modes expose exact and sampled logZ semantics", CHANGE),
    ),
    "supervision.objective_additive": (
        newest(REGISTRY, "Stage-2 objective-atom projection is module-owned and deterministic"),
    ),
    "supervision.append_tokenization": (APPEND, TARGET),
    "supervision.ce_from_first_forward": (OBJECTIVE,),
    "supervision.closure": (OBJECTIVE, newest(REGISTRY, "Channel-B rollout context is FP-neutral and EOS-enforced")),
    "supervision.coord_out_of_ce": (OBJECTIVE,),
    "supervision.expectation_decode": (OBJECTIVE, stage2("Coord quantization is globally consistent (k/999 only)")),
    "supervision.fn_injected": (APPEND, CHANNEL_B),
    "supervision.fp_neutral": (OBJECTIVE,),
    "supervision.geometry_finite": (OBJECTIVE,),
    "supervision.invalid_rollout_fallback": (
        stage2("Channel-B invalid rollouts fall back deterministically (no silent skips)"),
    ),
    "supervision.match_deterministic": (
        matching("Matching baseline uses Hungarian assignment with dummy augmentation and maskIoU gating"),
    ),
    "supervision.matched_struct_only": (OBJECTIVE,),
    "supervision.no_helper_kwargs": (UNPATCHED,),
    "supervision.prefix_kept": (TARGET,),
    "supervision.rollout_seed": (stage2("Channel-B rollout seeding is deterministic and logged"),),
    "supervision.schedule": (stage2("Channel selection is deterministic and step-driven"),),
    "supervision.softctx_forwards": (
        SOFTCTX,
        stage2("Channel-A forward path is compatible with Qwen3-VL multimodal semantics"),
    ),
    "supervision.softctx_gradient": (SOFTCTX,),
    "supervision.token_roles_partition": (OBJECTIVE,),
}

PERMITTED = {
    "": {"supervision.multiplier_scope": "an archived change counts closure tokens among those that it weighs"}
}

# Since 2026-03-08 a Channel-B target begins with the accepted objects as the serializer writes them.
_CLEAN = stage2("Channel-B reuses rollout-matching infra with typed final insertion ordering")
_EXTRAS = stage2(
    "Generic unmatched clean extras remain prefix-visible while staying outside desc and coord supervision"
)
_HYBRID = stage2("Hybrid objective preserves Channel-A anchoring and uses clean-prefix Channel-B supervision")
_ROLES = spec("teacher-forcing-unified-loss-registry", "Token-type partition is explicit and deterministic")
CHANGES = {
    "2026-05": {
        "supervision.append_tokenization": (_CLEAN,),
        "supervision.fp_neutral": (_EXTRAS, _HYBRID),
        "supervision.prefix_kept": (_CLEAN, _HYBRID),
        "supervision.token_roles_partition": (_ROLES,),
    }
}

BEYOND = {
    "": {"supervision.fn_injected": (("^no ground truth", "it does not say what trains where nothing is annotated"),)}
}
