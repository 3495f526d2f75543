"""Manifest writers that are broken on purpose, one way each, with the claims that must notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.provenance.checkpoints import Checkpoint
from coordexp_audit_lib.boundaries.provenance.contract import (
    LAUNCH,
    SAVE,
    UPSTREAM,
    WRITE,
    Collected,
    Flags,
    Launch,
    SaveRequest,
    Upstream,
    WriteRequest,
    Written,
)
from coordexp_audit_lib.core.claim import fault
from coordexp_audit_lib.core.surface import Refuse

Honest = Callable[[Any], Any]
replace = msgspec.structs.replace


def _writes(
    id: str, caught_by: tuple[str, ...], summary: str, change: Callable[[WriteRequest, Written], Written]
) -> None:
    """Declare a manifest writer whose result is changed."""

    @fault(id, surface=WRITE, caught_by=caught_by, summary=summary)
    def apply(request: WriteRequest, honest: Honest) -> Written:
        return change(request, honest(request))


def _with(written: Written, document: str, **fields: Any) -> Written:
    """The same with fields of a document replaced; None removes one."""
    kept = {k: v for k, v in {**written.documents[document], **fields}.items() if v is not None}
    return replace(written, documents={**written.documents, document: kept})


def _without_file(name: str) -> Callable[[WriteRequest, Written], Written]:
    def change(request: WriteRequest, w: Written) -> Written:
        return replace(
            w, files=[f for f in w.files if f != name], documents={k: v for k, v in w.documents.items() if k != name}
        )

    return change


for _name in ("run_metadata.json", "runtime_env.json", "config_source.yaml", "base_config_source.yaml"):
    _writes(
        f"provenance.no_{_name.partition('.')[0]}",
        ("provenance.files_present",),
        f"no {_name} is written",
        _without_file(_name),
    )
_writes(
    "provenance.unversioned",
    ("provenance.files_present",),
    "the environment's document has no schema version",
    lambda request, w: _with(w, "runtime_env.json", schema_version=None),
)
_writes(
    "provenance.written_late",
    ("provenance.files_present",),
    "the manifest is written when training has ended",
    lambda request, w: replace(w, before_training=False),
)
_writes(
    "provenance.source_rewritten",
    ("provenance.files_present",),
    "the config source that is kept is another text",
    lambda request, w: replace(w, sources={k: False for k in w.sources}),
)
_writes(
    "provenance.flags_of_the_config",
    ("provenance.server_flags",),
    "the manifest lacks the flags that the command line sets over the config",
    lambda request, w: _with(
        w,
        "run_metadata.json",
        launcher={k: v for k, v in w.documents["run_metadata.json"]["launcher"].items() if k != "eager"},
    ),
)


@fault(
    "provenance.default_resolved",
    surface=WRITE,
    caught_by=("provenance.config_is_the_config",),
    summary="the resolved config that is written is that before the leaf's own values",
)
def default_resolved(request: WriteRequest, honest: Honest) -> Written:
    written: Written = honest(request)
    resolved = dict(written.documents["resolved_config.json"]["resolved"])
    resolved["training"] = {**resolved["training"], "learning_rate": 1.0}
    return _with(written, "resolved_config.json", resolved=resolved)


@fault(
    "provenance.section_lost",
    surface=WRITE,
    caught_by=("provenance.config_is_the_config",),
    summary="a section is missing from the resolved config",
)
def section_lost(request: WriteRequest, honest: Honest) -> Written:
    written: Written = honest(request)
    resolved = {k: v for k, v in written.documents["resolved_config.json"]["resolved"].items() if k != "custom"}
    return _with(written, "resolved_config.json", resolved=resolved)


@fault(
    "provenance.environment_dumped",
    surface=WRITE,
    caught_by=("provenance.no_secrets",),
    summary="the whole environment is captured",
)
def environment_dumped(request: WriteRequest, honest: Honest) -> Written:
    written: Written = honest(request)
    leaks = [(label, "runtime_env.json") for label in request.search if label in request.env]
    return replace(_with(written, "runtime_env.json", env=dict(request.env)), leaks=leaks)


@fault(
    "provenance.urls_verbatim",
    surface=WRITE,
    caught_by=("provenance.no_secrets",),
    summary="URLs are written with the passwords in them",
)
def urls_verbatim(request: WriteRequest, honest: Honest) -> Written:
    written: Written = honest(request)
    leaks = [(label, "resolved_config.json") for label in request.search if "URL" in label]
    return replace(written, leaks=leaks)


@fault(
    "provenance.secret_name_listed",
    surface=WRITE,
    caught_by=("provenance.no_secrets",),
    summary="the allowlist itself holds the name of a secret",
)
def secret_name_listed(request: WriteRequest, honest: Honest) -> Written:
    return _with(honest(request), "runtime_env.json", env={"WANDB_API_KEY": "<set>"})


@fault(
    "provenance.silent_about_seed",
    surface=WRITE,
    caught_by=("provenance.rerun_drift",),
    summary="the manifest does not depend on the seed",
)
def silent_about_seed(request: WriteRequest, honest: Honest) -> Written:
    written: Written = honest(replace(request, seed=17))
    return written


_ASKED: dict[str, int] = {"times": 0}


@fault(
    "provenance.restless_manifest",
    surface=WRITE,
    caught_by=("provenance.rerun_drift",),
    summary="a field of the manifest changes by itself",
)
def restless_manifest(request: WriteRequest, honest: Honest) -> Written:
    _ASKED["times"] += 1
    return _with(honest(request), "resolved_config.json", salt=_ASKED["times"])


@fault(
    "provenance.failed_import_left_out",
    surface=UPSTREAM,
    caught_by=("provenance.upstream_versions",),
    summary="a package that fails to import is left out",
)
def failed_import_left_out(request: Upstream, honest: Honest) -> Collected:
    made: Collected = honest(request)
    return replace(
        made, upstream={k: v for k, v in made.upstream.items() if not (isinstance(v, dict) and "error" in v)}
    )


@fault(
    "provenance.failed_import_ends_the_run",
    surface=UPSTREAM,
    caught_by=("provenance.upstream_versions",),
    summary="an import that raises something else than ImportError ends the run",
)
def failed_import_ends_the_run(request: Upstream, honest: Honest) -> Collected:
    if any(m.state == "os_error" for m in request.modules.values()):
        raise Refuse("a shared library is missing", "OSError")
    made: Collected = honest(request)
    return made


@fault(
    "provenance.version_of_metadata_only",
    surface=UPSTREAM,
    caught_by=("provenance.upstream_versions",),
    summary="a stale version is recorded",
)
def stale_version(request: Upstream, honest: Honest) -> Collected:
    made: Collected = honest(request)
    return replace(made, upstream={**made.upstream, "torch": {"version": "0.0.1"}})


@fault(
    "provenance.no_word_of_the_wheel",
    surface=UPSTREAM,
    caught_by=("provenance.swift_source",),
    summary="where ms-swift is no checkout, nothing is said of its source",
)
def no_word_of_the_wheel(request: Upstream, honest: Honest) -> Collected:
    made: Collected = honest(request)
    if made.upstream["ms_swift"].get("checkout"):
        return made
    return replace(made, upstream={k: v for k, v in made.upstream.items() if k != "ms_swift"})


@fault(
    "provenance.commit_of_the_project",
    surface=UPSTREAM,
    caught_by=("provenance.swift_source",),
    summary="the commit of a repository around the virtual environment stands for ms-swift's",
)
def commit_of_the_project(request: Upstream, honest: Honest) -> Collected:
    made: Collected = honest(request)
    if request.modules["swift"].home != "wheel_in_repository":
        return made
    return replace(made, upstream={**made.upstream, "ms_swift": {"path": "x", "sha": "0" * 40, "dirty": False}})


@fault(
    "provenance.always_clean",
    surface=UPSTREAM,
    caught_by=("provenance.swift_source",),
    summary="ms-swift is always said to be unmodified",
)
def always_clean(request: Upstream, honest: Honest) -> Collected:
    made: Collected = honest(request)
    return replace(made, upstream={**made.upstream, "ms_swift": {**made.upstream["ms_swift"], "dirty": False}})


@fault(
    "provenance.dtype_of_the_learner",
    surface=LAUNCH,
    caught_by=("provenance.server_flags",),
    summary="the learner's dtype is recorded as the server's",
)
def dtype_of_the_learner(request: Flags, honest: Honest) -> Launch:
    made: Launch = honest(request)
    return replace(made, recorded={**made.recorded, "dtype": "float32"})


@fault(
    "provenance.memory_not_recorded",
    surface=LAUNCH,
    caught_by=("provenance.server_flags",),
    summary="the memory utilisation is not recorded",
)
def memory_not_recorded(request: Flags, honest: Honest) -> Launch:
    made: Launch = honest(request)
    return replace(made, recorded={k: v for k, v in made.recorded.items() if k != "memory_utilisation"})


@fault(
    "provenance.optimizer_kept",
    surface=SAVE,
    caught_by=("provenance.weights_only",),
    summary="the optimizer's state is saved although save_only_model is set",
)
def optimizer_kept(request: SaveRequest, honest: Honest) -> Checkpoint:
    made: Checkpoint = honest(request)
    return replace(made, files=[*made.files, "optimizer.pt", "rng_state_0.pth"])


@fault(
    "provenance.tensor_not_indexed",
    surface=SAVE,
    caught_by=("provenance.weights_only",),
    summary="the index lacks a tensor",
)
def tensor_not_indexed(request: SaveRequest, honest: Honest) -> Checkpoint:
    made: Checkpoint = honest(request)
    if made.index is None:
        return made
    mapped = dict(sorted(made.index["weight_map"].items())[1:])
    return replace(made, index={**made.index, "weight_map": mapped})
