"""versions of transformers, torch, vllm and swift are recorded, and an import that fails is recorded as such

transformers and ms-swift own the loss, the template and the collation: another version of either is another objective.
A collector that dies with the import leaves the run without any manifest.

Example: vllm without its CUDA library raises OSError on import; the manifest must hold that error as vllm's entry."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.provenance import cases
from coordexp_audit_lib.boundaries.provenance.artifact.run import RunFolder
from coordexp_audit_lib.boundaries.provenance.faults import collects
from coordexp_audit_lib.boundaries.provenance.predicates import packages
from coordexp_audit_lib.boundaries.provenance.predicates.documents import METADATA
from coordexp_audit_lib.boundaries.provenance.surfaces import UPSTREAM, Collected, Upstream
from coordexp_audit_lib.core.claim import Context, Ledger, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.surface import Refuse


@claim(severity="P2", kind="B", remedy="record the error of any import that fails, whatever it raises, and go on")
def upstream_versions(ctx: Context) -> Iterator[Problem]:
    required = ctx.contract["provenance.packages"]
    for name, modules in cases.imports().items():
        answer = ctx.ask(UPSTREAM, Upstream(modules))
        ctx.judged()
        if answer.refusal is not None:
            what = "a package whose import fails is not recorded: collecting the versions fails with it"
            yield Problem(what, name, "the error recorded for that package", answer.refusal.type, modules)
            continue
        planted = {k: {"version": m.version, "importable": m.state == "importable"} for k, m in modules.items()}
        found = packages.upstream_versions(answer.value.upstream, required, planted)
        yield from cases.about(found, name, modules)


def of_run(run: RunFolder, ledger: Ledger) -> Iterator[Problem]:
    upstream, required = run.get(METADATA, "upstream"), run.contract["provenance.packages"]
    ledger.judged(len(required))
    yield from packages.upstream_versions(upstream, required)


upstream_versions.on(RunFolder, of_run)

fault(upstream_versions, "failed_import_left_out", UPSTREAM, "a package that fails to import is left out")(
    collects(lambda r, u: {k: v for k, v in u.items() if not (isinstance(v, dict) and "error" in v)})
)
fault(upstream_versions, "version_of_metadata_only", UPSTREAM, "a stale version is recorded")(
    collects(lambda r, u: {**u, "torch": {"version": "0.0.1"}})
)


ENDS = "an import that raises something else than ImportError ends the run"


@fault(upstream_versions, "failed_import_ends_the_run", UPSTREAM, ENDS)
def failed_import_ends_the_run(request: Upstream, honest: Honest) -> Collected:
    if any(m.state == "os_error" for m in request.modules.values()):
        raise Refuse("a shared library is missing", "OSError")
    made: Collected = honest(request)
    return made
