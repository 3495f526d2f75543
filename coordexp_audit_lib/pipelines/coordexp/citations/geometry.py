"""Where CoordExp demands what the claims of boundary 03 demand."""

from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.pipelines.coordexp.citing import COMMIT, REPOSITORY, code, spec, stage2


def data(section: str) -> Citation:
    """A section of the project's data contract."""
    return Citation(REPOSITORY, "docs/data/JSONL_CONTRACT.md", section, COMMIT)


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
        code("src/datasets/dense_caption.py", "BaseCaptionDataset._enforce_max_pixels"),
        Citation(REPOSITORY, "docs/standards/REPO_HYGIENE.md", "6) Contract guardrails (do not violate)", COMMIT),
    ),
    "geometry.size_matches_file": (data("Top-Level Record"),),
    "geometry.augment_identity": (spec("coord-token-mode", "Coord-token augmentation compatibility"),),
    "geometry.sampling_deterministic": (code("src/datasets/dense_caption.py", "BaseCaptionDataset.__getitem__"),),
}

PERMITTED = {
    "geometry.box_ordered": "only ground truth of Stage-2 AB must be ordered, where it is refused; else the arity alone"
}
