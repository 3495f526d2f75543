"""In Stage 1 the text's cross-entropy is the mean over the labelled tokens of the optimizer step: each token weighs one
over their number, whatever number of items upstream hands on, and however many micro-batches the step has.

Upstream counts tokens before coordinates are masked, and divides by the micro-batches only where it is told no number.
A loss that divides by upstream's number dilutes the text by the share of coordinates; one that forgets micro-batches
multiplies the learning rate by their number.

Example: 40 labelled tokens in each of 2 micro-batches: a token's cross-entropy is multiplied by 1/80."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases import forcing
from coordexp_audit_lib.boundaries.supervision.predicates import terms
from coordexp_audit_lib.boundaries.supervision.predicates.roles import VOCABULARY
from coordexp_audit_lib.boundaries.supervision.surfaces.terms import FORCED, Forced, ForcedRequest, TeacherForced
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, asked, fault
from coordexp_audit_lib.core.finding import Violation


@claim(
    severity="P0",
    kind="B",
    remedy="Divide by the labelled tokens of the micro-batch, and by the number of micro-batches.",
)
def stage1_mean(ctx: Context) -> Iterator[Violation]:
    for name, request in forcing.accumulated():
        rows = ctx.value(FORCED, request).samples
        yield from (p.violation(name) for p in terms.averaged(rows, request.steps, ctx))


def _scaled(factor: Callable[[ForcedRequest, list[Forced]], float]) -> Any:
    """Every share times what the function makes of the request and the rows."""

    def apply(request: ForcedRequest, honest: Honest) -> TeacherForced:
        rows = honest(request).samples
        by = factor(request, rows)
        return TeacherForced([replace(row, share=[v * by for v in row.share]) for row in rows])

    return apply


def _labelled(rows: list[Forced]) -> int:
    return sum(label != VOCABULARY.ignore_index for row in rows for label in row.labels)


fault(stage1_mean, "stage1_not_accumulated", FORCED, "The division by the number of micro-batches is dropped.")(
    asked(steps=lambda request: 1)
)
fault(stage1_mean, "stage1_one_item_more", FORCED, "The divisor is one more than there are labelled tokens.")(
    _scaled(lambda request, rows: _labelled(rows) / (_labelled(rows) + 1))
)
fault(stage1_mean, "stage1_items_of_upstream", FORCED, "The divisor counts coordinates too, as upstream does.")(
    _scaled(lambda request, rows: _labelled(rows) / sum(len(row.ids) for row in rows))
)
