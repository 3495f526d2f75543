"""The claims of the packing boundary about packed batches, judged by the predicates of `contract`."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.packing import contract, positions
from coordexp_audit_lib.boundaries.packing.contract import Alone, Problem
from coordexp_audit_lib.boundaries.packing.judging import judged
from coordexp_audit_lib.boundaries.packing.row import PackedRow
from coordexp_audit_lib.core.claim import Context, invariant
from coordexp_audit_lib.core.finding import Violation

SPEC = "openspec/specs/packing-dataset/spec.md (Multimodal field preservation and position_ids)"


@invariant(
    "packing.fields_aligned",
    boundary="packing",
    severity="P0",
    kind="B",
    claim="input_ids, labels, attention metadata and every row of position_ids have the same length and the same "
    "segment boundaries.",
    remedy="Build every field of a pack from the same list of samples, in one place.",
    spec=SPEC,
)
def fields_aligned(ctx: Context) -> Iterator[Violation]:
    def predicate(row: PackedRow, alone: list[Alone]) -> Iterator[Problem]:
        yield from contract.fields_aligned(row)
        yield from contract.tokens_concatenated(row, alone)

    yield from judged(ctx, predicate)


@invariant(
    "packing.cu_seqlens",
    boundary="packing",
    severity="P0",
    kind="B",
    claim="cu_seq_lens are int32, from 0 to the total, strictly increasing, equal to the running sum of lengths; "
    "max_length is right.",
    remedy="Derive cu_seq_lens and max_length from the samples' lengths, in int32.",
    spec=SPEC,
)
def cu_seqlens(ctx: Context) -> Iterator[Violation]:
    yield from judged(ctx, lambda row, alone: contract.cu_seqlens(row))


@invariant(
    "packing.positions_restart",
    boundary="packing",
    severity="P0",
    kind="B",
    claim="Text positions restart at 0 in each segment; the mRoPE rows equal those computed for each sample alone.",
    remedy="Number each sample's tokens from 0, and make its mRoPE rows from its own grids, before samples are joined.",
    spec=SPEC,
)
def positions_restart(ctx: Context) -> Iterator[Violation]:
    yield from judged(ctx, lambda row, alone: positions.positions_restart(row))


@invariant(
    "packing.no_cross_boundary_label",
    boundary="packing",
    severity="P0",
    kind="B",
    claim="After the causal shift no token is predicted from another sample's context; labels equal the concatenation "
    "of the unpacked labels.",
    remedy="Keep each segment's first label at -100 and join labels unshifted, in the order of the tokens.",
    spec=SPEC,
)
def no_cross_boundary_label(ctx: Context) -> Iterator[Violation]:
    yield from judged(ctx, contract.no_cross_boundary_label)


@invariant(
    "packing.vision_in_order",
    boundary="packing",
    severity="P0",
    kind="B",
    claim="Images, grids and pixel rows follow the samples' order and add up.",
    remedy="Concatenate image_grid_thw and pixel_values over the same list of samples as input_ids.",
    spec=SPEC,
)
def vision_in_order(ctx: Context) -> Iterator[Violation]:
    yield from judged(ctx, contract.vision_in_order)
