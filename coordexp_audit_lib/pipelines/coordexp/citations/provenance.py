"""Where CoordExp demands what the claims of boundary 10 demand."""

from coordexp_audit_lib.pipelines.coordexp.citing import audit, code, newest

UPSTREAM = audit("Upstream dependency provenance is recorded in run artifacts")
WRITER = "src/utils/run_manifest.py"

CITATIONS = {
    "provenance.files_present": (UPSTREAM, code(WRITER, "write_run_manifest_files")),
    "provenance.upstream_versions": (UPSTREAM,),
    "provenance.swift_source": (UPSTREAM,),
    "provenance.server_flags": (UPSTREAM,),
    "provenance.config_is_the_config": (code(WRITER, "serialize_resolved_training_config"),),
    "provenance.weights_only": (code("configs/base.yaml", "training.save_only_model"),),
    "provenance.cache_key": (
        newest(
            "encoded-training-cache", "Encoded cache reuse is guarded by a stable fingerprint and artifact manifest"
        ),
    ),
    "provenance.rerun_drift": (UPSTREAM,),
}

PERMITTED = {"provenance.no_secrets": "sources are recorded verbatim, by contract"}
