"""Each release has a verdict for each surface, which says where, how or why, and is that of an import where an import
is possible.

Whoever plans an upgrade, or runs on the release at hand because another does not install, decides by the matrix. A
hole in it, a verdict without a reason, or one that reading a release's source got wrong sends the run to a release
under which the objective is another one.

Example: `transformers.four_rows` of 4.56.2 is `gone`: under that release packed segments see one another."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.upstream import surfaces as s
from coordexp_audit_lib.boundaries.upstream.artifact.matrix import MatrixRequest
from coordexp_audit_lib.boundaries.upstream.faults import changed
from coordexp_audit_lib.boundaries.upstream.predicates.contracts import Contract
from coordexp_audit_lib.boundaries.upstream.predicates.installed import asked, promised
from coordexp_audit_lib.boundaries.upstream.predicates.verdicts import (
    WORDS,
    Release,
    Verdict,
    differences,
    settings_are_taken,
)
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.problem import Problem


@claim(severity="P2", kind="S", remedy="make the shipped verdicts anew from the releases, and look at what differs")
def versions_matrix(ctx: Context) -> Iterator[Problem]:
    matrix = ctx.value(s.MATRIX, MatrixRequest())
    by_key = {(v.contract, v.version): v for v in matrix.verdicts}
    for contract in promised(ctx):
        for version in matrix.versions.get(contract.distribution, [""]):
            ctx.judged()
            yield from _complete(contract, version, by_key.get((contract.id, version)))
    yield from _as_imported(ctx, by_key)


versions_matrix.on(Release, settings_are_taken)


def _complete(contract: Contract, version: str, found: Verdict | None) -> Iterator[Problem]:
    name = f"{contract.id} of {contract.distribution} {version or '(no release)'}"
    if found is None:
        yield Problem(f"there is no verdict on {name}", name, "a verdict")
    elif found.word not in WORDS or (found.word == "kept") != (not found.problems):
        yield Problem(f"the verdict on {name} does not say why", name, "a reason", found.word)
    elif any(not d.what for d in found.problems):
        yield Problem(f"the verdict on {name} has a reason without words", name, "a reason", found.word)


def _as_imported(ctx: Context, by_key: dict[tuple[str, str], Verdict]) -> Iterator[Problem]:
    """The verdict of what the pipeline's interpreter has, against the shipped one of the same release."""
    for version, contract, part, seen in asked(ctx, promised(ctx)):
        read = by_key.get((contract.id, version))
        if read is None or seen.status not in ("found", "gone"):
            continue
        kinds = {d.kind for d in read.problems if d.symbol == part.symbol}
        if "undecidable" in kinds:
            continue
        ctx.judged()
        live = [d for d in differences(part, seen) if d.kind != "undecidable"]
        imported = {d.kind for d in live}
        if kinds != imported:
            what = f"{part.symbol} of {contract.distribution} {version}: reading and importing it disagree"
            yield Problem(what, contract.id, sorted(kinds), sorted(imported), [d.what for d in live])


fault(versions_matrix, "verdict_missing", s.MATRIX, "the matrix has a hole")(
    answered(verdicts=lambda made: made.verdicts[1:])
)
fault(
    versions_matrix, "verdict_without_a_reason", s.MATRIX, "a verdict other than kept does not say where, how or why"
)(answered(verdicts=lambda made: [changed(v, problems=[]) for v in made.verdicts]))
