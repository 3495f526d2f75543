"""After the causal shift no token is predicted from another sample's context; labels equal the concatenation of the
unpacked labels.

The loss at token i is that of predicting token i + 1. A label at a segment's first token is therefore predicted from
the end of another sample, and a label that is shifted once too often is the token after the next: gradients of a
task that evaluation never sets, in every pack.

Example: of two samples in one pack the second begins with `<|im_start|>`; its label there is -100."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.packing.artifact import PackedRow
from coordexp_audit_lib.boundaries.packing.cases import each_batch
from coordexp_audit_lib.boundaries.packing.faults import Ints, edited, second
from coordexp_audit_lib.boundaries.packing.predicates import batch
from coordexp_audit_lib.boundaries.packing.surfaces import BATCH, Batch
from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.kit.profile import IGNORE_INDEX

LOSS = "src/transformers/loss/loss_utils.py"


@claim(
    severity="P0",
    kind="B",
    remedy="Keep each segment's first label at -100 and join labels unshifted, in the order of the tokens.",
    spec=(Citation("huggingface/transformers", LOSS, "ForCausalLMLoss", "v4.57.6"),),
)
def no_cross_boundary_label(ctx: Context) -> Iterator[Violation]:
    yield from each_batch(ctx, batch.no_cross_boundary_label)


no_cross_boundary_label.on(PackedRow, batch.no_cross_boundary_label)


@fault(no_cross_boundary_label, "first_supervised", BATCH, "the second sample's first token is supervised")
@edited
def first_supervised(ints: Ints, made: Batch) -> None:
    ints["labels"][0][second(ints)] = ints["input_ids"][0][second(ints)]


fault(no_cross_boundary_label, "labels_shifted", BATCH, "labels are shifted by one before the loss shifts them again")(
    edited(lambda ints, made: ints.update(labels=[[*ints["labels"][0][1:], IGNORE_INDEX]]))
)


@fault(no_cross_boundary_label, "labels_of_another_order", BATCH, "labels are joined in another order than the tokens")
@edited
def labels_of_another_order(ints: Ints, made: Batch) -> None:
    labels, at = ints["labels"][0], second(ints)
    ints["labels"] = [[*labels[at:], *labels[:at]]]
