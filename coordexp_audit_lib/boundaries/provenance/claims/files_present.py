"""a run leaves resolved_config.json, runtime_env.json, run_metadata.json and its config sources, with a schema version,
before the first step

A run that dies, or is stopped for a bad loss, must still say what it optimised: files that are written at the end are
missing for just those runs, and what is written late may hold values that were changed since.

Example: a folder with `checkpoint-100` and no `resolved_config.json` can't be repeated from what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.provenance import cases
from coordexp_audit_lib.boundaries.provenance.artifact import reading
from coordexp_audit_lib.boundaries.provenance.artifact.run import RunFolder
from coordexp_audit_lib.boundaries.provenance.faults import document, without_file, writes
from coordexp_audit_lib.boundaries.provenance.predicates import documents as d
from coordexp_audit_lib.boundaries.provenance.surfaces import WRITE
from coordexp_audit_lib.core.claim import Context, Ledger, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.problem import Problem


@claim(
    severity="P0",
    kind="A",
    remedy="write the missing file, or its schema_version, before training starts, and stop if that fails",
)
def files_present(ctx: Context) -> Iterator[Problem]:
    for name, request in cases.plain_runs().items():
        written = cases.write(ctx, request)
        ctx.judged()
        where = cases.place(ctx, written)
        found = d.files_present(written.files, written.documents, with_base=request.with_base)
        yield from cases.about(found, name, None, where)
        for source, same in sorted(written.sources.items()):
            if not same:
                yield Problem("a config source is not kept as it was", f"{name}: {source}", where=where)
        if written.lost:
            what = "files that the config resolves through are kept nowhere"
            case = {"lost": written.lost}
            yield Problem(what, name, "each of them", len(written.lost), case, authority="practice")
        if not written.sources:
            ctx.left_out("whether the config sources are kept as they were", name)
        if written.before_training is None:
            ctx.left_out("whether the manifest is written before the first step", name)
        elif not written.before_training:
            late = "the manifest is written after training has started"
            yield Problem(late, name, "before the first step", "after")
        metadata = written.documents.get(d.METADATA)
        versioned = isinstance(metadata, dict) and "schema_version" in metadata
        ctx.fact(f"{name}: {d.METADATA} has a schema version of its own", versioned)


def of_run(run: RunFolder, ledger: Ledger) -> Iterator[Problem]:
    for name, defects in sorted(run.defects.items()):
        for defect in defects:
            yield Problem(f"{name} is no sound document: {defect}", name)
    with_base = bool((run.documents.get(d.RESOLVED) or {}).get("base_config_path"))
    ledger.judged(len(d.wanted(with_base)))
    yield from d.files_present(run.files, run.documents, with_base=with_base)
    yield from _late(run, ledger)


def _late(run: RunFolder, ledger: Ledger) -> Iterator[Problem]:
    """A manifest that says to be younger than a checkpoint was written late, unless the run was resumed."""
    created = (run.documents.get(d.METADATA) or {}).get("created_at")
    first = next(iter(reading.checkpoints(run.root)), None)
    if run.setting(run.contract["provenance.resumed"]):
        return
    try:
        stamp = datetime.fromisoformat(created) if isinstance(created, str) else None
        made = stamp.timestamp() if stamp is not None and stamp.tzinfo else None
    except (ValueError, OverflowError):
        where = f"{d.METADATA}: created_at"
        yield Problem("the time at which the manifest was made is no time", where, "ISO 8601", created)
        return
    if first is None:
        return
    if made is None:
        ledger.left_out("whether it was written before the first step", f"{d.METADATA} states no time with its zone")
        return
    ledger.judged()
    if made > (run.root / first).stat().st_mtime + 1:
        yield Problem("the manifest is younger than the first checkpoint", d.METADATA, "before the first step", first)


files_present.on(RunFolder, of_run)

for _file in (d.METADATA, d.ENVIRONMENT, d.CONFIG_SOURCE, d.BASE_SOURCE):
    _name = f"no_{_file.partition('.')[0]}"
    fault(files_present, _name, WRITE, f"no {_file} is written")(writes(without_file(_file)))
fault(files_present, "unversioned", WRITE, "the environment's document has no schema version")(
    writes(lambda request, w: document(w, d.ENVIRONMENT, schema_version=None))
)
fault(files_present, "written_late", WRITE, "the manifest is written when training has ended")(
    writes(lambda request, w: replace(w, before_training=False))
)
fault(files_present, "source_rewritten", WRITE, "the config source that is kept is another text")(
    writes(lambda request, w: replace(w, sources=dict.fromkeys(w.sources, False)))
)
fault(files_present, "parents_lost", WRITE, "of the files that a config resolves through only the leaf is kept")(
    writes(lambda request, w: replace(w, lost=["configs/base.yaml"]))
)
