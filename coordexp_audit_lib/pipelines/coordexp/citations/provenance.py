"""Where CoordExp demands what the claims of boundary 10 demand."""

from coordexp_audit_lib.pipelines.coordexp.citing import audit, document, newest

UPSTREAM = audit("Upstream dependency provenance is recorded in run artifacts")

CITATIONS = {
    "provenance.files_present": (UPSTREAM,),
    "provenance.upstream_versions": (UPSTREAM,),
    "provenance.swift_source": (UPSTREAM,),
    "provenance.server_flags": (UPSTREAM,),
    "provenance.config_is_the_config": (document("standards/REPO_HYGIENE.md", "5) Reproducibility minimum bar"),),
    "provenance.cache_key": (
        newest(
            "encoded-training-cache", "Encoded cache reuse is guarded by a stable fingerprint and artifact manifest"
        ),
    ),
    "provenance.rerun_drift": (UPSTREAM,),
}

PERMITTED = {
    "": {
        "provenance.weights_only": "the base config saves weights only; no requirement speaks of it",
        "provenance.no_secrets": "sources are recorded verbatim, by contract",
    }
}

BEYOND = {
    "2026-05": {
        "provenance.cache_key": (
            ("packing plan: (budget|chat|tokenizer)", "of the key of a plan it wants the source of the data alone"),
        )
    }
}
