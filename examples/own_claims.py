"""A claim of one's own: beside the adapter of `packer.py`, for `coordexp-audit check --claims own_claims.py`."""

from coordexp_audit_lib.boundaries.packing.surfaces import PLAN, PlanRequest
from coordexp_audit_lib.core.claim import claim
from coordexp_audit_lib.core.finding import Violation


@claim(
    id="packing.no_more_packs_than_needed",
    severity="P2",
    kind="B",
    remedy="Sort by length before packing, or look at more packs than the last one.",
)
def no_more_packs_than_needed(ctx):
    """Samples of a half and of a third of a pack need no more packs than these fill.

    Each pack is a forward pass: those that stand half empty are paid for and train nothing.

    Example: lengths 50, 33, 17, 50, 33, 17 fit into two packs of 100."""
    for count in (2, 6, 12):
        lengths = [50, 33, 17] * count
        packs = ctx.value(PLAN, PlanRequest(lengths, 100)).packs
        ctx.judged()
        if len(packs) > count:
            subject, case = f"{len(lengths)} samples", {"lengths": lengths}
            yield Violation("more packs than needed", subject, count, len(packs), case)
