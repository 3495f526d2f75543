"""In Stage 1 each token of the answer has its own label in the text's cross-entropy, but for coordinate tokens, none of
which has one.

Stage 1 trains on the whole answer. A coordinate that is left in the cross-entropy is supervised twice, and by a loss
for which the neighbouring bin is as wrong as the far one; one id that the mask forgets does so for the boxes at that
edge of the picture alone. A token that loses its label is never learned.

Example: of `[<|coord_0|>, …, <|coord_999|>]` the brackets and commas have labels, and all thousand coordinates -100."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases import forcing
from coordexp_audit_lib.boundaries.supervision.faults import each
from coordexp_audit_lib.boundaries.supervision.predicates import terms
from coordexp_audit_lib.boundaries.supervision.predicates.roles import VOCABULARY, is_coordinate
from coordexp_audit_lib.boundaries.supervision.surfaces.terms import FORCED, Forced
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.kit.tokenizer import COORD_0, COORD_BINS


@claim(severity="P0", kind="B", remedy="Mask the labels of all thousand coordinate ids, and of nothing else.")
def stage1_labels(ctx: Context) -> Iterator[Violation]:
    for name, request in forcing.labels():
        rows = ctx.value(FORCED, request).samples
        if len(rows) < len(request.samples):
            ctx.left_out(name, f"{len(rows)} rows came back for {len(request.samples)} samples")
        yield from (p.violation(name) for p in terms.labelled(rows, ctx))


def _kept(which: Callable[[int], bool]) -> Callable[[list[Forced]], list[Forced]]:
    """Those coordinates keep their labels."""

    def made(row: Forced) -> list[int]:
        return [t if is_coordinate(t) and which(t - COORD_0) else k for t, k in zip(row.ids, row.labels, strict=True)]

    return each(labels=made)


_ALL, _LAST = _kept(lambda k: True), _kept(lambda k: k == COORD_BINS - 1)
fault(stage1_labels, "stage1_unmasked", FORCED, "No coordinate is masked in Stage 1.")(
    answered(samples=lambda a: _ALL(a.samples))
)
fault(stage1_labels, "stage1_last_bin_unmasked", FORCED, "The last of the thousand ids is not masked.")(
    answered(samples=lambda a: _LAST(a.samples))
)


def _from(row: Forced) -> list[int]:
    """The labels with every token from the first coordinate on masked."""
    first = next((p for p, t in enumerate(row.ids) if is_coordinate(t)), len(row.ids))
    return [k if p < first else VOCABULARY.ignore_index for p, k in enumerate(row.labels)]


fault(stage1_labels, "stage1_masked_to_the_end", FORCED, "From the first coordinate on nothing has a label.")(
    answered(samples=lambda a: [replace(row, labels=_from(row)) for row in a.samples])
)
