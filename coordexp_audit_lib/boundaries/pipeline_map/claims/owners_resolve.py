"""Every stage has at least one owner, each resolved to file, line and symbol at the audited commit; an owner that moved
is reported as moved, one that is gone as missing.

A finding is of use where it leads to the code that computes the loss, the batch or the metric. A stage whose owners are
all gone is a stage that nobody looks at: what changes there changes the objective or the evaluation unseen.

Example: `trainers.rollouts:Trainer.evaluate` stands in a renamed module: it is `moved`, with the new file and line."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.pipeline_map import predicates
from coordexp_audit_lib.boundaries.pipeline_map.cases import resolved_owners, the_map
from coordexp_audit_lib.boundaries.pipeline_map.surfaces.owners import OWNERS, Owners, OwnersRequest, ResolvedOwner
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.evidence import Evidence
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.problem import Problem


@claim(
    severity="P1",
    kind="S",
    remedy="name the function that does the stage's work now, as a further candidate of the owner",
)
def owners_resolve(ctx: Context) -> Iterator[Problem]:
    known = the_map(ctx.contract)
    found = resolved_owners(ctx, known)
    states: dict[str, int] = {"found": 0, "moved": 0, "missing": 0}
    for o in dict.fromkeys(found.values()):
        states[o.status] = states.get(o.status, 0) + 1
        if o.status == "missing":
            ctx.fact("missing owner", o.asked)
        else:
            note = o.asked if o.status == "moved" else None
            ctx.note(Evidence("symbol", o.path, o.line, o.symbol, digest=o.digest, value=note and f"moved from {note}"))
    for status, count in sorted(states.items()):
        ctx.fact(f"owners {status}", count)
    for e in known.entrypoints:
        for stage in known.stages_of(e.id):
            asked = [o.names[0] for o in known.owners_of(stage.id, e.id)]
            told = [found[name] for name in asked if name in found]
            if len(told) < len(asked):
                ctx.left_out(f"{len(asked) - len(told)} owners of {e.id}/{stage.id}", "nothing is said about them")
            ctx.judged(len(told))
            yield from predicates.stage_owners(e.id, stage, told)


@fault(owners_resolve, "stage_without_owner", OWNERS, "every function of the data stage is gone")
def stage_without_owner(request: OwnersRequest, honest: Callable[[OwnersRequest], Owners]) -> Owners:
    gone = {o.names[0] for o in the_map(pipeline().contract()).owners if o.stage == "data"}
    told = honest(request).owners
    return Owners([ResolvedOwner(o.asked, "missing") if o.asked in gone else o for o in told])


fault(owners_resolve, "owner_without_place", OWNERS, "owners are said to stand, but no line is told")(
    answered(owners=lambda told: [replace(o, line=0) for o in told.owners])
)
