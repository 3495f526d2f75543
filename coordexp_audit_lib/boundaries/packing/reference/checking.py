"""The reference's own check of a packed batch: the claims' predicates."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.packing import surfaces as s
from coordexp_audit_lib.boundaries.packing.cases import row_of
from coordexp_audit_lib.boundaries.packing.predicates import batch, positions, vision
from coordexp_audit_lib.boundaries.packing.reference.batches import PROFILE
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Undecided
from coordexp_audit_lib.core.surface import Refuse, answers

CHECKS = (
    batch.fields_aligned,
    batch.cu_seqlens,
    batch.no_cross_boundary_label,
    positions.positions_restart,
    vision.vision_in_order,
)


@answers(s.CHECK)
def own_check(request: s.CheckRequest) -> s.Accepted:
    row = row_of(request.batch, None, PROFILE)
    ids = row.flat("input_ids")
    if ids is not None and not (ids.min() >= 0 and ids.max() < request.vocabulary):
        raise Refuse("a token is not in the vocabulary")
    for check in CHECKS:
        try:
            found = next(iter(check(row, Ledger())), None)
        except Undecided:
            continue
        if found is not None:
            raise Refuse(found.message)
    return s.Accepted()
