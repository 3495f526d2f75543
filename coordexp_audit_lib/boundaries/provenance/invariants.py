"""The eight claims on what a run leaves behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.provenance import predicates, scenarios
from coordexp_audit_lib.boundaries.provenance.checkpoints import weights_only as judge_checkpoint
from coordexp_audit_lib.boundaries.provenance.contract import (
    LAUNCH,
    SAVE,
    UPSTREAM,
    WRITE,
    Flags,
    SaveRequest,
    Upstream,
    WriteRequest,
    Written,
)
from coordexp_audit_lib.boundaries.provenance.drift import RANKS, counts, differences
from coordexp_audit_lib.boundaries.provenance.predicates import Flaw
from coordexp_audit_lib.boundaries.provenance.server import canonical
from coordexp_audit_lib.core.claim import Context, invariant
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Violation

BOUNDARY = "provenance"
SPEC = "openspec/specs/training-pipeline-audit: Upstream dependency provenance is recorded in run artifacts"
METADATA, RESOLVED, ENVIRONMENT = "run_metadata.json", "resolved_config.json", "runtime_env.json"


def violations(
    flaws: Iterable[Flaw], case: str, counterexample: Any = None, where: Where | None = None
) -> Iterator[Violation]:
    """The flaws of one case."""
    for flaw in flaws:
        subject = f"{case}: {flaw.subject}" if flaw.subject else case
        yield Violation(flaw.message, subject, flaw.expected, flaw.actual, counterexample, where)


def place(ctx: Context, written: Written) -> Where | None:
    """The statement that writes the manifest, inside the function that answers."""
    where = ctx.where(WRITE)
    return Where(where.path, written.line, where.symbol) if where and written.line else where


def write(ctx: Context, request: WriteRequest) -> Written:
    """The manifest of a run; the configs' names are those of the target."""
    named = msgspec.structs.replace(request, config=ctx.target.config_path(request.config))
    return ctx.value(WRITE, named)


@invariant(
    "provenance.files_present",
    boundary=BOUNDARY,
    severity="P0",
    kind="A",
    claim="a run leaves resolved_config.json, runtime_env.json, run_metadata.json and its config sources, with a "
    "schema version, before the first step",
    remedy="write the missing file, or its schema_version, before training starts, and stop if that fails",
    spec=SPEC,
)
def files_present(ctx: Context) -> Iterator[Violation]:
    for name, request in scenarios.plain_runs().items():
        written = write(ctx, request)
        ctx.judged()
        flaws = predicates.files_present(written.files, written.documents, with_base=request.with_base)
        where = place(ctx, written)
        yield from violations(flaws, name, None, where)
        for source, same in sorted(written.sources.items()):
            if not same:
                yield Violation("a config source is not kept as it was", f"{name}: {source}", where=where)
        if written.before_training is False:
            yield Violation(
                "the manifest is written after training has started", name, "before the first step", "after"
            )
        metadata = written.documents.get(METADATA)
        versioned = isinstance(metadata, dict) and "schema_version" in metadata
        ctx.fact(f"{name}: {METADATA} has a schema version of its own", versioned)


@invariant(
    "provenance.upstream_versions",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="versions of transformers, torch, vllm and swift are recorded, and an import that fails is recorded as such",
    remedy="record the error of any import that fails, whatever it raises, and go on",
    spec=SPEC,
)
def upstream_versions(ctx: Context) -> Iterator[Violation]:
    for name, modules in scenarios.imports().items():
        answer = ctx.ask(UPSTREAM, Upstream(modules))
        ctx.judged()
        if answer.refusal is not None:
            yield Violation(
                "a package whose import fails is not recorded: collecting the versions fails with it",
                name,
                "the error recorded for that package",
                answer.refusal.type,
                modules,
            )
            continue
        planted = {k: {"version": m.version, "importable": m.state == "importable"} for k, m in modules.items()}
        yield from violations(predicates.upstream_versions(answer.value.upstream, planted), name, modules)


@invariant(
    "provenance.swift_source",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="the path, commit and dirty state of ms-swift are recorded, or that it is no checkout",
    remedy="ask git whether it tracks ms-swift's file; record its commit and state, or state that it is no checkout",
    spec=SPEC,
)
def swift_source(ctx: Context) -> Iterator[Violation]:
    for name, swift in scenarios.homes().items():
        collected = ctx.value(UPSTREAM, Upstream({**scenarios.SOUND, "swift": swift}))
        ctx.judged()
        checkout = swift.home in ("checkout", "changed_checkout")
        planted = {"checkout": checkout, "sha": collected.sha, "dirty": swift.home == "changed_checkout"}
        yield from violations(predicates.swift_source(collected.upstream, planted), f"ms-swift is {name}", swift)


@invariant(
    "provenance.server_flags",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="in server mode the server's dtype, DP, TP, max model length, eager mode and memory utilisation are recorded "
    "as launched",
    remedy="record each flag from the variable that the server's command line is made of",
    spec=SPEC,
)
def server_flags(ctx: Context) -> Iterator[Violation]:
    for flags in (scenarios.FLAGS, {**scenarios.FLAGS, "dtype": "bfloat16", "eager": "false", "tensor_parallel": "1"}):
        launch = ctx.value(LAUNCH, Flags(flags))
        launched = canonical(launch.launched)
        missing = [name for name in flags if name not in launched]
        if missing:
            raise SurfaceUnbound(f"the launcher's command line sets no {', '.join(missing)}", where=LAUNCH.name)
        ctx.judged(len(flags))
        yield from violations(predicates.server_flags(launch.recorded, launched), "the launcher", flags)
    request = scenarios.baseline()
    written = write(ctx, request)
    ctx.judged()
    metadata = written.documents.get(METADATA) or {}
    yield from violations(
        predicates.server_flags(metadata.get("launcher"), request.server), METADATA, None, place(ctx, written)
    )


@invariant(
    "provenance.config_is_the_config",
    boundary=BOUNDARY,
    severity="P0",
    kind="A",
    claim="the resolved config that is written equals what its own YAML sources materialise to",
    remedy="write the config that the trainer is given, every value of it",
    spec="openspec/specs/training-pipeline-audit: Run manifest includes upstream provenance",
)
def config_is_the_config(ctx: Context) -> Iterator[Violation]:
    runs = {**scenarios.plain_runs(), "a value set in the leaf": scenarios.changes()["the learning rate"][0]}
    for name, request in runs.items():
        written = write(ctx, request)
        if not written.merged:
            raise SurfaceUnbound("what the sources resolve to is not told", where=WRITE.name)
        ctx.judged()
        document = written.documents.get(RESOLVED)
        resolved = document.get("resolved") if isinstance(document, dict) else None
        yield from violations(
            predicates.config_is_its_sources(written.merged, resolved), name, None, place(ctx, written)
        )
    ctx.fact("values that the sources of the last run set", len(list(_paths(written.merged))))


def _paths(value: Any) -> Iterator[None]:
    for below in value.values() if isinstance(value, dict) else ():
        yield from _paths(below) if isinstance(below, dict) else (None,)


@invariant(
    "provenance.no_secrets",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="the environment that is captured is an allowlist, and token-like values are not written",
    remedy="redact what looks like a token, and the user part of URLs, before anything is written",
    spec="openspec/specs/training-pipeline-audit: Upstream dependency provenance is recorded in run artifacts",
)
def no_secrets(ctx: Context) -> Iterator[Violation]:
    for spot, request in scenarios.leaking().items():
        asked = msgspec.structs.replace(request, config=ctx.target.config_path(request.config))
        answer = ctx.ask(WRITE, asked)
        if answer.refusal is not None:
            ctx.fact(f"{spot}: the run is refused, nothing is written", answer.refusal.type)
            continue
        written, where = answer.value, place(ctx, answer.value)
        ctx.judged(max(1, len(request.search)))
        for label, file in written.leaks:
            unlisted = label in scenarios.UNLISTED
            what = "a variable on no list is captured" if unlisted else "a secret is written"
            yield Violation(what, f"{spot}: {label}", "not in any file", f"in {file}", {"planted in": spot}, where)
        environment = written.documents.get(ENVIRONMENT)
        env = environment.get("env") if isinstance(environment, dict) else None
        yield from violations(predicates.environment_is_chosen(env), spot, None, where)


@invariant(
    "provenance.weights_only",
    boundary=BOUNDARY,
    severity="P1",
    kind="A",
    claim="with save_only_model a checkpoint holds no optimizer, scheduler or generator state; its index is complete",
    remedy="save through the trainer's own path, which honours save_only_model and writes the index last",
    spec="configs/base.yaml: training.save_only_model",
)
def weights_only(ctx: Context) -> Iterator[Violation]:
    for name, request in {"one file": SaveRequest(), "shards": SaveRequest(shard_bytes=4096)}.items():
        checkpoint = ctx.value(SAVE, request)
        ctx.judged()
        yield from violations(judge_checkpoint(checkpoint, save_only_model=True), name)
        if request.shard_bytes and (len(checkpoint.tensors) < 2 or checkpoint.index is None):
            yield Violation("a checkpoint in several files has no index", name, "an index", sorted(checkpoint.tensors))
    ctx.fact("files of the last checkpoint", len(checkpoint.files))


@invariant(
    "provenance.rerun_drift",
    boundary=BOUNDARY,
    severity="P1",
    kind="A",
    claim="the manifests of two runs, compared field by field, differ where the runs do, and each difference is ranked",
    remedy="record what the manifest is silent about, and nothing that changes by itself",
    spec="openspec/specs/training-pipeline-audit: Run manifest includes upstream provenance",
)
def rerun_drift(ctx: Context) -> Iterator[Violation]:
    before = write(ctx, scenarios.baseline()).documents
    again = write(ctx, scenarios.baseline()).documents
    ctx.judged()
    for found in differences(before, again):
        if found.rank != "nothing":
            yield Violation("a field differs though nothing has changed", found.field, found.before, found.after)
    for name, (request, rank) in scenarios.changes().items():
        found_all = differences(before, write(ctx, request).documents)
        ctx.judged()
        worst = found_all[0].rank if found_all else None
        if worst is None or RANKS.index(worst) > RANKS.index(rank):
            what = "a run that differs leaves the same manifest" if worst is None else "a difference ranks too low"
            yield Violation(what, name, rank, worst, {"changed": name})
        elif RANKS.index(worst) < RANKS.index(rank):
            yield Violation("more differs than was changed", name, rank, [d.field for d in found_all[:5]])
        ctx.fact(f"{name} changed: differences by rank", counts(found_all))
