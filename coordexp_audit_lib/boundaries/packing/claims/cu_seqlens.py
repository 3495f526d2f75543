"""cu_seq_lens are int32, from 0 to the total, strictly increasing, equal to the running sum of lengths; max_length is
right.

A variable-length attention kernel knows segments by these numbers only. A boundary that is missing or off by one lets
a sample attend to another one's tokens: the loss is then conditioned on text that the sample does not have, and still
goes down. A max_length that is too short leaves queries out; other integers than int32 are read as other numbers.

Example: lengths 3 and 4 give `[0, 3, 7]` and max_length 4; `[0, 7]` joins the two samples."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.packing.artifact import PackedRow
from coordexp_audit_lib.boundaries.packing.cases import each_batch
from coordexp_audit_lib.boundaries.packing.faults import edited
from coordexp_audit_lib.boundaries.packing.predicates import batch
from coordexp_audit_lib.boundaries.packing.surfaces import BATCH
from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.finding import Violation

FLASH = "src/transformers/modeling_flash_attention_utils.py"


@claim(
    severity="P0",
    kind="B",
    remedy="Derive cu_seq_lens and max_length from the samples' lengths, in int32.",
    spec=(Citation("huggingface/transformers", FLASH, "FlashAttentionKwargs", "v4.57.6"),),
)
def cu_seqlens(ctx: Context) -> Iterator[Violation]:
    yield from each_batch(ctx, batch.cu_seqlens)


cu_seqlens.on(PackedRow, batch.cu_seqlens)

fault(cu_seqlens, "cu_int64", BATCH, "cu_seq_lens are int64")(
    edited(lambda ints, made: made.dtypes.update(cu_seq_lens_q="int64"))
)
fault(cu_seqlens, "max_length_total", BATCH, "max_length is the pack's length")(
    edited(lambda ints, made: ints.update(max_length_q=len(ints["input_ids"][0])))
)
