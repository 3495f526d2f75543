"""Where CoordExp demands what the claims of boundary 03 demand."""

from functools import partial

from coordexp_audit_lib.pipelines.coordexp.citing import audit, document, spec, stage2

data = partial(document, "data/JSONL_CONTRACT.md")  # the project's data contract

CITATIONS = {
    "geometry.record_contract": (
        spec("coord-utils", "Canonical geometry keys and arity invariants are enforced"),
        data("Top-Level Record"),
    ),
    "geometry.bins_k999": (
        spec("coord-token-mode", "Coord token codec utilities"),
        spec("coord-token-mode", "Offline numeric→coord-token converter"),
        stage2("Coord quantization is globally consistent (k/999 only)"),
    ),
    "geometry.bins_in_range": (
        spec("coord-token-mode", "Clear failure on invalid coord tokens"),
        spec("coord-utils", "Coord token/numeric range rules are deterministic"),
    ),
    "geometry.never_dropped": (
        spec("coord-utils", "Geometry helper behavior remains non-destructive and order-preserving"),
        data("Invariants"),
    ),
    "geometry.never_reordered": (
        spec("object-field-ordering", "Object instance ordering remains independent"),
        data("Invariants"),
    ),
    "geometry.no_resize": (
        audit("High-risk invariants have CPU-only test coverage"),
        document("standards/REPO_HYGIENE.md", "6) Contract guardrails (do not violate)"),
    ),
    "geometry.size_matches_file": (data("Top-Level Record"),),
    "geometry.augment_identity": (spec("coord-token-mode", "Coord-token augmentation compatibility"),),
}

PERMITTED = {
    "": {
        "geometry.sampling_deterministic": "no requirement speaks of the order of samples, but for that of objects",
        "geometry.box_ordered": "only ground truth of Stage-2 AB must be ordered, where it is refused",
    }
}

BEYOND = {"": {"geometry.bins_in_range": (("with true", "it admits what is a whole number within a tolerance"),)}}
