"""Each coordinate term that Stage 2 has a weight for reaches each supervised slot, matched or appended, in either
channel, with that weight, as a mean over the slots, and nothing else does.

Terms are weighed against each other and against the text. One that is computed, logged and not added trains nothing;
one that leaves out the slots of the objects that the model missed corrects what it finds and never teaches it to find.

Example: with a weight of 0.5 on the gate alone, each slot's gradient is half the gate's own, 4 matched or 4 appended
alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases import forcing
from coordexp_audit_lib.boundaries.supervision.predicates import terms
from coordexp_audit_lib.boundaries.supervision.surfaces.terms import TERMS, Slot, Terms, TermsRequest
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.fault import Honest, asked, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.kit.coordinate_terms import GATE, WASSERSTEIN


@claim(severity="P0", kind="B", remedy="Add each term's mean over all supervised slots, times its own weight.")
def coordinate_terms(ctx: Context) -> Iterator[Violation]:
    known: Sequence[str] = ctx.contract["supervision.coordinate_terms"]
    if not known:
        raise SurfaceUnbound("the pipeline has no coordinate terms", where=TERMS.name)
    for name, request in forcing.channels(known):
        found = ctx.value(TERMS, request).samples
        wanted = [[k for t in s.gt for k in t.bbox] for s in request.samples]
        if len(found) < len(wanted):
            ctx.left_out(name, f"{len(found)} segments came back for {len(wanted)} samples")
            continue
        one = terms.Pulled(request.term, request.weight, found, wanted)
        # Both channels' terms are added up in one place, whatever prepared their batch.
        yield from (replace(p.violation(name), where=ctx.where(TERMS)) for p in terms.reached(one, ctx))


def _without(request: TermsRequest, honest: Honest, fates: Sequence[str]) -> Terms:
    """Slots of these fates without a pull."""
    made = honest(request).samples
    return Terms([[_silent(s) if s.fate in fates else s for s in slots] for slots in made])


def _silent(slot: Slot) -> Slot:
    return replace(slot, pull=0.0, stray=0.0)


@fault(coordinate_terms, "terms_dropped", TERMS, "Channel-B's coordinate terms are computed and not added.")
def _dropped(request: TermsRequest, honest: Honest) -> Terms:
    answer: Terms = honest(request)
    return answer if request.channel == "A" else _without(request, honest, ("matched", "appended"))


@fault(coordinate_terms, "gate_of_missed_dropped", TERMS, "The slots of appended objects have no gate.")
def _gate_of_missed(request: TermsRequest, honest: Honest) -> Terms:
    answer: Terms = honest(request)
    return _without(request, honest, ("appended",)) if (request.term, request.channel) == (GATE, "B") else answer


fault(coordinate_terms, "term_weight_not_read", TERMS, "The weight of the Wasserstein term is not read.")(
    asked(weight=lambda request: 1.0 if request.term == WASSERSTEIN else request.weight)
)


@fault(coordinate_terms, "matched_at_prediction", TERMS, "The terms of a matched object aim at its own prediction.")
def _at_prediction(request: TermsRequest, honest: Honest) -> Any:
    made = honest(request).samples
    return Terms([[replace(s, stray=0.9) if s.fate == "matched" else s for s in slots] for slots in made])
