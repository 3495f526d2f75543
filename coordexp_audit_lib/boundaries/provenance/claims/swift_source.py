"""the path, commit and dirty state of ms-swift are recorded, or that it is no checkout

ms-swift is often run from a working tree with patches of one's own; its version number then says nothing of the
template and the loss that were used. The commit of another repository in its place is worse than none: it will be
checked out.

Example: ms-swift as a wheel in a virtual environment inside a project has no commit; the project's must not be
recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from coordexp_audit_lib.boundaries.provenance import cases
from coordexp_audit_lib.boundaries.provenance.artifact.run import RunFolder
from coordexp_audit_lib.boundaries.provenance.faults import collects
from coordexp_audit_lib.boundaries.provenance.predicates import packages
from coordexp_audit_lib.boundaries.provenance.predicates.documents import METADATA
from coordexp_audit_lib.boundaries.provenance.surfaces import UPSTREAM, Upstream
from coordexp_audit_lib.core.claim import Context, Ledger, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.problem import Problem, Undecided


@claim(
    severity="P1",
    kind="B",
    remedy="ask git whether it tracks ms-swift's file; record its commit and state, or state that it is no checkout",
)
def swift_source(ctx: Context) -> Iterator[Problem]:
    for name, swift in cases.homes().items():
        collected = ctx.value(UPSTREAM, Upstream({**cases.SOUND, "swift": swift}))
        ctx.judged()
        checkout = swift.home in ("checkout", "changed_checkout")
        planted = {"checkout": checkout, "sha": collected.sha, "dirty": swift.home == "changed_checkout"}
        found = packages.swift_source(collected.upstream, planted)
        yield from cases.about(found, f"ms-swift is {name}", swift)


def of_run(run: RunFolder, ledger: Ledger) -> Iterator[Problem]:
    upstream = run.get(METADATA, "upstream")
    swift = upstream.get("swift") if isinstance(upstream, Mapping) else None
    if isinstance(swift, Mapping) and swift.get("error") and not swift.get("file"):
        raise Undecided(f"ms-swift was not there, so that it has no source: {swift['error']}")
    ledger.judged()
    yield from packages.swift_source(upstream)


swift_source.on(RunFolder, of_run)

fault(swift_source, "no_word_of_the_wheel", UPSTREAM, "where ms-swift is no checkout, nothing is said of its source")(
    collects(lambda r, u: u if u["ms_swift"].get("checkout") else {k: v for k, v in u.items() if k != "ms_swift"})
)
AROUND = "the commit of a repository around the virtual environment stands for ms-swift's"
OTHER = {"ms_swift": {"path": "x", "sha": "0" * 40, "dirty": False}}
fault(swift_source, "commit_of_the_project", UPSTREAM, AROUND)(
    collects(lambda r, u: u | OTHER if r.modules["swift"].home == "wheel_in_repository" else u)
)
fault(swift_source, "always_clean", UPSTREAM, "ms-swift is always said to be unmodified")(
    collects(lambda r, u: {**u, "ms_swift": {**u["ms_swift"], "dirty": False}})
)
