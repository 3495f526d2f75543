"""In Stage 1 each term of the coordinates' loss reaches each coordinate with the weight that the config gives it, as a
mean over the micro-batch's coordinates, and nothing else does.

A weight that is not read leaves a config that says one thing and a run that trains another; a sum in place of a mean
weighs an image by the length of its annotation.

Example: with a weight of 0.5 on the Wasserstein term alone, each coordinate's gradient is half that term's own."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases import forcing
from coordexp_audit_lib.boundaries.supervision.faults import each
from coordexp_audit_lib.boundaries.supervision.predicates import terms
from coordexp_audit_lib.boundaries.supervision.surfaces.terms import FORCED, ForcedRequest, TeacherForced
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, answered, asked, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.kit.coordinate_terms import GATE, WASSERSTEIN


@claim(severity="P0", kind="B", remedy="Multiply each term's mean over the coordinates by its own weight, and add it.")
def stage1_terms(ctx: Context) -> Iterator[Violation]:
    for name, request in forcing.weighed():
        rows = ctx.value(FORCED, request).samples
        # The optimizer step adds up its micro-batches: what one of them has is its share of the step.
        slots = [[replace(s, pull=s.pull * request.steps) for s in row.slots] for row in rows]
        wanted = [[k for t in things for k in t.bbox] for things in request.samples]
        if len(rows) < len(wanted):
            ctx.left_out(name, f"{len(rows)} rows came back for {len(wanted)} samples")
            continue
        one = terms.Pulled(request.term, request.weight, slots, wanted)
        yield from (p.violation(name) for p in terms.reached(one, ctx))


_WEIGHT = "The weight of the Wasserstein term is not read: it has the default, 1."
fault(stage1_terms, "stage1_weight_not_read", FORCED, _WEIGHT)(
    asked(weight=lambda request: 1.0 if request.term == WASSERSTEIN else request.weight)
)


@fault(stage1_terms, "stage1_gate_dropped", FORCED, "The gate is computed and not added.")
def _gate_dropped(request: ForcedRequest, honest: Honest) -> TeacherForced:
    return honest(replace(request, weight=0.0) if request.term == GATE else request)  # type: ignore[no-any-return]


_SUMMED = "The term is summed over coordinates, not averaged."
_SUM = each(slots=lambda row: [replace(s, pull=s.pull * len(row.slots)) for s in row.slots])
fault(stage1_terms, "stage1_term_summed", FORCED, _SUMMED)(answered(samples=lambda a: _SUM(a.samples)))
fault(stage1_terms, "stage1_term_accumulated", FORCED, "The coordinates' loss is not divided by the micro-batches.")(
    asked(steps=lambda request: 1 if request.term else request.steps)
)
