"""Where CoordExp demands what the claims of the template boundary demand."""

from coordexp_audit_lib.pipelines.coordexp.citing import audit, matching, spec

CITATIONS = {
    "template.render_pinned": (
        spec("dataset-prompt-variants", "Fixed Base Prompt Invariants"),
        spec("dataset-prompt-variants", "Variant Registry and Deterministic Resolution"),
    ),
    "template.prompt_is_prefix": (
        matching("Post-rollout packing is supported under rollout-matching training"),
        matching("Single-path training constructs one canonical teacher-forced target sequence"),
        spec("dataset-prompt-variants", "Cross-Surface Prompt Parity"),
    ),
    "template.no_truncation": (audit("Objective-changing failures are fail-fast"),),
    "template.state_restored": (
        spec("silent-failure-policy", "Temporary mutable state is restored deterministically"),
    ),
}

PERMITTED = {
    "": {
        "template.vocab_fits": "no requirement speaks of comparing the server's vocabulary with the learner's",
        "template.coord_tokens_atomic": "the codec's clause is about names, ids and values, not about a tokenizer",
    }
}
