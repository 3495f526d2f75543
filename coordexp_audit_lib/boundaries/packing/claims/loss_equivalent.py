"""The packed loss equals the token-weighted loss of the samples one by one.

Packing is meant to save padding and to change nothing else. If the packed loss is a mean of segment means, or
supervises a token more or fewer, then the weight of a sample in the gradient depends on which others happened to share
its pack.

Example: samples with losses 1.0 over 1 token and 3.0 over 3 tokens make a packed loss of 2.5; the mean of means is
2.0."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.packing.artifact import PackedRow
from coordexp_audit_lib.boundaries.packing.cases import each_forward
from coordexp_audit_lib.boundaries.packing.faults import calls
from coordexp_audit_lib.boundaries.packing.predicates import isolation
from coordexp_audit_lib.boundaries.packing.surfaces import FORWARD, Pack
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.finding import Violation


@claim(
    severity="P0",
    kind="B",
    remedy="Sum the cross-entropy over all supervised tokens of the pack and divide by their number once.",
)
def loss_equivalent(ctx: Context) -> Iterator[Violation]:
    yield from each_forward(ctx, lambda pack, attention: isolation.loss_equivalent(pack), _measured)


def _measured(packs: list[Pack]) -> str:
    """The largest relative gap between the packed and the token-weighted loss."""
    gap, supervised = max(isolation.relative_gap(p) for p in packs), sum(p.supervised for p in packs)
    shown = isolation.difference_shown(gap)
    return f"relative gap {shown} over {len(packs)} packs with {supervised} supervised tokens"


loss_equivalent.not_on(PackedRow, "needs the model and the trainer's loss: run the audit on the pipeline")

fault(loss_equivalent, "crossing_label", FORWARD, "each sample's first token is supervised from the sample before it")(
    calls(first_supervised=True)
)
fault(loss_equivalent, "mean_of_means", FORWARD, "the loss is the mean of the segments' means")(calls(by_segment=True))
