"""What the objective's terms are asked with: whole samples for Stage 1, a batch of each channel for Stage 2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from coordexp_audit_lib.boundaries.supervision.cases import rollouts
from coordexp_audit_lib.boundaries.supervision.surfaces import Sample, Thing
from coordexp_audit_lib.boundaries.supervision.surfaces.terms import ForcedRequest, TermsRequest
from coordexp_audit_lib.kit.boxes import LAST_BIN
from coordexp_audit_lib.kit.coordinate_terms import TERMS

WEIGHT = 0.5  # no default of any pipeline
EDGES = Thing("edge", [0, 1, LAST_BIN - 1, LAST_BIN])
SHORT = [[rollouts.GT[0]], [rollouts.ODD[0], EDGES]]


def labels() -> Iterator[tuple[str, ForcedRequest]]:
    """Whole answers, odd words among them, and all thousand bins: only for their labels."""
    every = [Thing("x", [k, k + 1, k + 2, k + 3]) for k in range(0, LAST_BIN, 4)]
    yield "every bin", ForcedRequest([every], backward=False)
    yield "odd descriptions", ForcedRequest([rollouts.ODD[:2], [rollouts.GT[2]]], backward=False)
    yield "geometry first", ForcedRequest([rollouts.GT], order=rollouts.FLIPPED, backward=False)


def weighed() -> Iterator[tuple[str, ForcedRequest]]:
    """Each term alone, in one micro-batch; then one of them in three."""
    for term in TERMS:
        yield f"{term.replace('_', ' ')} alone", ForcedRequest(SHORT, term, WEIGHT)
    yield "in three micro-batches", ForcedRequest(SHORT, TERMS[0], WEIGHT, steps=3)


def accumulated() -> Iterator[tuple[str, ForcedRequest]]:
    """The text alone, in steps of one and of three micro-batches."""
    for steps in (1, 3):
        yield f"{steps} micro-batch{'es' if steps > 1 else ''}", ForcedRequest(SHORT, steps=steps)


def channels(known: Sequence[str]) -> Iterator[tuple[str, TermsRequest]]:
    """Each of these terms alone in Channel-B, where two objects are matched, one is missed and one false, and in
    Channel-A; the first also in a pack."""
    mixed = [Sample(rollouts.GT, rollouts.rollout([rollouts.CAT, rollouts.DOG, rollouts.BIRD]))]
    for term in known:
        yield f"{term.replace('_', ' ')} alone, Channel-B", TermsRequest("B", mixed, term, WEIGHT)
        yield f"{term.replace('_', ' ')} alone, Channel-A", TermsRequest("A", [Sample(rollouts.GT[:2])], term, WEIGHT)
    packed = TermsRequest("B", rollouts.gaps().request.samples, known[0], WEIGHT, packed=True)
    yield f"{known[0].replace('_', ' ')} in a pack with gaps", packed
