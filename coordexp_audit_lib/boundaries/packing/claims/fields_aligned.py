"""input_ids, labels, attention metadata and every row of position_ids have the same length and the same segment
boundaries.

Fields that disagree by one token supervise every token behind the place with its neighbour's label or position. Where
they disagree about a boundary only, attention, positions and loss each see other samples: the loss stays finite and
goes down, on another task.

Example: `cu_seq_lens_q` of `[0, 4, 7]` with text positions 0 … 6 joins for the positions what it parts for
attention."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.packing.artifact import PackedRow
from coordexp_audit_lib.boundaries.packing.cases import each_batch
from coordexp_audit_lib.boundaries.packing.faults import Ints, edited
from coordexp_audit_lib.boundaries.packing.predicates import batch
from coordexp_audit_lib.boundaries.packing.surfaces import BATCH, Batch
from coordexp_audit_lib.core.claim import Context, Ledger, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.problem import Problem


@claim(severity="P0", kind="B", remedy="Build every field of a pack from the same list of samples, in one place.")
def fields_aligned(ctx: Context) -> Iterator[Violation]:
    def predicate(row: PackedRow, ledger: Ledger) -> Iterator[Problem]:
        yield from batch.fields_aligned(row, ledger)
        yield from batch.tokens_concatenated(row)

    yield from each_batch(ctx, predicate)


fields_aligned.on(PackedRow, batch.fields_aligned)

fault(fields_aligned, "labels_short", BATCH, "labels lack the last token's entry")(
    edited(lambda ints, made: ints["labels"][0].pop())
)


@fault(fields_aligned, "ones_mask", BATCH, "an attention mask of ones joins the segments")
@edited
def ones_mask(ints: Ints, made: Batch) -> None:
    ints["attention_mask"] = [[1] * len(ints["input_ids"][0])]
    made.dtypes["attention_mask"] = "int64"


LOST, ALSO = "cu_seq_lens lack the boundary between the first two samples", ("packing.cu_seqlens",)


@fault(fields_aligned, "lost_boundary", BATCH, LOST, also=ALSO)
@edited
def lost_boundary(ints: Ints, made: Batch) -> None:
    del ints["cu_seq_lens_q"][1], ints["cu_seq_lens_k"][1]
