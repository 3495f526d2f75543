"""the manifests of two runs, compared field by field, differ where the runs do, and each difference is ranked

Two runs with one name and another result must be told apart by what they left behind. A manifest that is silent about
the seed calls them the same; one in which a field changes by itself calls every rerun another run.

Example: two runs that differ in the seed alone differ in one field, which ranks as a change of the objective."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.provenance import cases
from coordexp_audit_lib.boundaries.provenance.artifact.run import RunPair
from coordexp_audit_lib.boundaries.provenance.faults import document, writes
from coordexp_audit_lib.boundaries.provenance.predicates.documents import DOCUMENTS, RESOLVED
from coordexp_audit_lib.boundaries.provenance.predicates.drift import RANKS, counts, differences, flat
from coordexp_audit_lib.boundaries.provenance.surfaces import WRITE
from coordexp_audit_lib.core.claim import Context, Ledger, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.problem import Problem


@claim(severity="P1", kind="A", remedy="record what the manifest is silent about, and nothing that changes by itself")
def rerun_drift(ctx: Context) -> Iterator[Problem]:
    rules = ctx.contract["provenance.ranks"]
    before = cases.write(ctx, cases.baseline()).documents
    again = cases.write(ctx, cases.baseline()).documents
    ctx.judged()
    for one in differences(before, again, rules):
        if one.rank != "nothing":
            yield Problem("a field differs though nothing has changed", one.field, one.before, one.after)
    for name, (request, rank) in cases.changes().items():
        found = differences(before, cases.write(ctx, request).documents, rules)
        ctx.judged()
        worst = found[0].rank if found else None
        if worst is None or RANKS.index(worst) > RANKS.index(rank):
            what = "a run that differs leaves the same manifest" if worst is None else "a difference ranks too low"
            yield Problem(what, name, rank, worst, {"changed": name})
        elif RANKS.index(worst) < RANKS.index(rank):
            yield Problem("more differs than was changed", name, rank, [one.field for one in found[:5]])
        ctx.fact(f"{name} changed: differences by rank", counts(found))


def of_pair(pair: RunPair, ledger: Ledger) -> Iterator[Problem]:
    for name in DOCUMENTS if pair.before.is_own or pair.after.is_own else ():
        if name not in pair.before.documents or name not in pair.after.documents:
            ledger.left_out(name, "it can't be read in both runs")
    for name, why in pair.one_sided.items():
        ledger.left_out(name, why)
    for before, after in (pair.documents, pair.arguments):
        ledger.judged(len(flat(before).keys() | flat(after).keys()))
    for one in pair.differences:
        if one.rank in ("objective", "numerics"):
            what = f"the runs differ in what can change the {one.rank}"
            yield Problem(what, one.field, one.before, one.after)


rerun_drift.on(RunPair, of_pair)

fault(rerun_drift, "silent_about_seed", WRITE, "the manifest does not depend on the seed")(
    lambda request, honest: honest(replace(request, seed=17))
)
_times = itertools.count(1)
fault(rerun_drift, "restless_manifest", WRITE, "a field of the manifest changes by itself")(
    writes(lambda request, w: document(w, RESOLVED, salt=next(_times)))
)
