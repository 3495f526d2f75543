"""Deliberate breaks of packing, and the claims that must catch each."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.packing.surfaces import (
    BATCH,
    DRAIN,
    PLAN,
    SELECT,
    STREAM,
    Batch,
    BatchRequest,
    BatchResponse,
    Drain,
    DrainRequest,
    Plan,
    PlanRequest,
    Select,
    SelectRequest,
    Stream,
    StreamRequest,
)
from coordexp_audit_lib.core.claim import fault
from coordexp_audit_lib.core.surface import Refuse

Honest = Callable[[Any], Any]
replace = msgspec.structs.replace


@fault("packing.overfilled", surface=PLAN, caught_by=("packing.capacity",), summary="the two emptiest packs are joined")
def overfilled(request: PlanRequest, honest: Honest) -> Plan:
    made: Plan = honest(request)
    if len(made.packs) < 2:
        return made
    first, second, *rest = sorted(made.packs, key=lambda p: sum(request.lengths[i] for i in p))
    return replace(made, packs=sorted([sorted(first + second), *rest]))


@fault(
    "packing.long_uncounted", surface=STREAM, caught_by=("packing.capacity",), summary="long samples are not counted"
)
def long_uncounted(request: StreamRequest, honest: Honest) -> Stream:
    made: Stream = honest(request)
    return replace(made, single_long=0, skipped_long=0)


@fault(
    "packing.buffers_anything",
    surface=DRAIN,
    caught_by=("packing.capacity",),
    summary="a segment that fits no pack is buffered",
)
def buffers_anything(request: DrainRequest, honest: Honest) -> Drain:
    try:
        made: Drain = honest(request)
    except Refuse:
        return Drain([[i] for i in range(len(request.lengths))])
    return made


@fault("packing.twice", surface=PLAN, caught_by=("packing.each_once",), summary="sample 0 stands in the last pack too")
def twice(request: PlanRequest, honest: Honest) -> Plan:
    made: Plan = honest(request)
    return replace(made, packs=[*made.packs[:-1], [*made.packs[-1], 0]])


@fault("packing.dropped_silently", surface=PLAN, caught_by=("packing.each_once",), summary="drops are not counted")
def dropped_silently(request: PlanRequest, honest: Honest) -> Plan:
    made: Plan = honest(request)
    return replace(made, dropped=None)


@fault("packing.by_size", surface=STREAM, caught_by=("packing.stable_order",), summary="packs stand largest first")
def by_size(request: StreamRequest, honest: Honest) -> Stream:
    made: Stream = honest(request)
    return replace(made, packs=[sorted(p, key=lambda i: -request.lengths[i]) for p in made.packs])


@fault("packing.unstable", surface=PLAN, caught_by=("packing.stable_order",), summary="the second run plans otherwise")
def unstable(request: PlanRequest, honest: Honest) -> Plan:
    made: Plan = honest(request)
    return replace(made, packs=made.packs[::-1]) if request.repeat else made


@fault(
    "packing.uneven_ranks",
    surface=PLAN,
    caught_by=("packing.ddp_aligned",),
    summary="the plan is dealt to the ranks without alignment",
)
def uneven_ranks(request: PlanRequest, honest: Honest) -> Plan:
    made: Plan = honest(request)
    world = request.world_size
    ranks = [list(range(r, len(made.packs), world)) for r in range(world)]
    return replace(made, aligned=made.packs, ranks=ranks, repeated=[])


@fault(
    "packing.too_few_packs",
    surface=PLAN,
    caught_by=("packing.ddp_aligned",),
    summary="repeating packs runs over the end of a plan with fewer packs than ranks",
)
def too_few_packs(request: PlanRequest, honest: Honest) -> Plan:
    made: Plan = honest(request)
    if len(made.repeated) > len(made.packs):
        raise Refuse("list index out of range", type="IndexError")
    return made


@fault(
    "packing.starved",
    surface=SELECT,
    caught_by=("packing.fill_at_least_fifo",),
    summary="the fullest selection wins even if it leaves the oldest segment",
)
def starved(request: SelectRequest, honest: Honest) -> Select:
    made: Select = honest(request)
    largest = [max(range(len(b)), key=lambda i: b[i]) for b in request.buffers]
    return Select([c if i in c else [i] for c, i in zip(made.chosen, largest, strict=True)])


@fault(
    "packing.stops_early",
    surface=SELECT,
    caught_by=("packing.fill_at_least_fifo",),
    summary="selection stops at the first segment that does not fit",
)
def stops_early(request: SelectRequest, honest: Honest) -> Select:
    chosen = []
    for buffer in request.buffers:
        room, n = request.packing_length, 0
        while n < len(buffer) and buffer[n] <= room:
            room, n = room - buffer[n], n + 1
        chosen.append(list(range(n)))
    return Select(chosen)


def edited(request: BatchRequest, honest: Honest, edit: Callable[[dict[str, Any], Batch], None]) -> BatchResponse:
    """The honest batches, with `edit` run on the integer tensors of each pack that has several members."""
    batches = []
    for made in honest(request).batches:
        ints = copy.deepcopy(made.ints)
        batch = replace(made, ints=ints, dtypes=dict(made.dtypes), pixel_rows=list(made.pixel_rows or []) or None)
        if len(made.members) > 1:
            edit(ints, batch)
        batches.append(batch)
    return BatchResponse(batches)


def _boundary(ints: dict[str, Any]) -> int:
    """The first token of the second segment."""
    second: int = ints["cu_seq_lens_q"][1]
    return second


@fault(
    "packing.lost_boundary",
    surface=BATCH,
    caught_by=("packing.fields_aligned", "packing.cu_seqlens"),
    summary="cu_seq_lens lack the boundary between the first two samples",
)
def lost_boundary(request: BatchRequest, honest: Honest) -> BatchResponse:
    def edit(ints: dict[str, Any], batch: Batch) -> None:
        del ints["cu_seq_lens_q"][1], ints["cu_seq_lens_k"][1]

    return edited(request, honest, edit)


@fault(
    "packing.labels_short",
    surface=BATCH,
    caught_by=("packing.fields_aligned",),
    summary="labels lack the last token's entry",
)
def labels_short(request: BatchRequest, honest: Honest) -> BatchResponse:
    def edit(ints: dict[str, Any], batch: Batch) -> None:
        ints["labels"][0].pop()

    return edited(request, honest, edit)


@fault(
    "packing.ones_mask",
    surface=BATCH,
    caught_by=("packing.fields_aligned",),
    summary="an attention mask of ones joins the segments",
)
def ones_mask(request: BatchRequest, honest: Honest) -> BatchResponse:
    def edit(ints: dict[str, Any], batch: Batch) -> None:
        ints["attention_mask"] = [[1] * len(ints["input_ids"][0])]
        batch.dtypes["attention_mask"] = "int64"

    return edited(request, honest, edit)


@fault("packing.cu_int64", surface=BATCH, caught_by=("packing.cu_seqlens",), summary="cu_seq_lens are int64")
def cu_int64(request: BatchRequest, honest: Honest) -> BatchResponse:
    def edit(ints: dict[str, Any], batch: Batch) -> None:
        batch.dtypes["cu_seq_lens_q"] = "int64"

    return edited(request, honest, edit)


@fault(
    "packing.max_length_total",
    surface=BATCH,
    caught_by=("packing.cu_seqlens",),
    summary="max_length is the pack's length",
)
def max_length_total(request: BatchRequest, honest: Honest) -> BatchResponse:
    def edit(ints: dict[str, Any], batch: Batch) -> None:
        ints["max_length_q"] = len(ints["input_ids"][0])

    return edited(request, honest, edit)


@fault(
    "packing.positions_run_on",
    surface=BATCH,
    caught_by=("packing.positions_restart", "packing.fields_aligned"),
    summary="text positions count through the whole pack",
)
def positions_run_on(request: BatchRequest, honest: Honest) -> BatchResponse:
    def edit(ints: dict[str, Any], batch: Batch) -> None:
        ints["text_position_ids"] = [list(range(len(ints["input_ids"][0])))]

    return edited(request, honest, edit)


@fault(
    "packing.mrope_runs_on",
    surface=BATCH,
    caught_by=("packing.positions_restart",),
    summary="the mRoPE rows of the second sample go on from those of the first",
)
def mrope_runs_on(request: BatchRequest, honest: Honest) -> BatchResponse:
    def edit(ints: dict[str, Any], batch: Batch) -> None:
        at = _boundary(ints)
        for (row,) in ints["position_ids"]:
            row[at:] = [p + at for p in row[at:]]

    return edited(request, honest, edit)


@fault(
    "packing.height_and_width_swapped",
    surface=BATCH,
    caught_by=("packing.positions_restart",),
    summary="the mRoPE rows of height and width are exchanged",
)
def height_and_width_swapped(request: BatchRequest, honest: Honest) -> BatchResponse:
    def edit(ints: dict[str, Any], batch: Batch) -> None:
        rows = ints["position_ids"]
        rows[1], rows[2] = rows[2], rows[1]

    return edited(request, honest, edit)


@fault(
    "packing.image_counts_its_pads",
    surface=BATCH,
    caught_by=("packing.positions_restart",),
    summary="text after an image goes on at the number of its pads, not at the longer side of its grid",
)
def image_counts_its_pads(request: BatchRequest, honest: Honest) -> BatchResponse:
    def edit(ints: dict[str, Any], batch: Batch) -> None:
        ints["position_ids"] = [copy.deepcopy(ints["text_position_ids"]) for _ in range(3)]

    return edited(request, honest, edit)


@fault(
    "packing.first_supervised",
    surface=BATCH,
    caught_by=("packing.no_cross_boundary_label",),
    summary="the second sample's first token is supervised",
)
def first_supervised(request: BatchRequest, honest: Honest) -> BatchResponse:
    def edit(ints: dict[str, Any], batch: Batch) -> None:
        at = _boundary(ints)
        ints["labels"][0][at] = ints["input_ids"][0][at]

    return edited(request, honest, edit)


@fault(
    "packing.labels_shifted",
    surface=BATCH,
    caught_by=("packing.no_cross_boundary_label",),
    summary="labels are shifted by one before the loss shifts them again",
)
def labels_shifted(request: BatchRequest, honest: Honest) -> BatchResponse:
    def edit(ints: dict[str, Any], batch: Batch) -> None:
        ints["labels"] = [[*ints["labels"][0][1:], -100]]

    return edited(request, honest, edit)


@fault(
    "packing.images_swapped",
    surface=BATCH,
    caught_by=("packing.vision_in_order",),
    summary="the pixel rows of two images of one size are exchanged; every count still adds up",
)
def images_swapped(request: BatchRequest, honest: Honest) -> BatchResponse:
    def edit(ints: dict[str, Any], batch: Batch) -> None:
        sizes = [t * h * w for t, h, w in ints.get("image_grid_thw", [])]
        rows = batch.pixel_rows
        if rows and len(sizes) > 1 and sizes[0] == sizes[1]:
            n = sizes[0]
            rows[:n], rows[n : 2 * n] = rows[n : 2 * n], rows[:n]

    return edited(request, honest, edit)


@fault(
    "packing.grids_reversed",
    surface=BATCH,
    caught_by=("packing.vision_in_order",),
    summary="image grids stand in the reverse order",
)
def grids_reversed(request: BatchRequest, honest: Honest) -> BatchResponse:
    def edit(ints: dict[str, Any], batch: Batch) -> None:
        ints.get("image_grid_thw", []).reverse()

    return edited(request, honest, edit)


# Breaks of what a real model and a config are asked stand in their own modules.
from coordexp_audit_lib.boundaries.packing import evaluation_faults, isolation_faults  # noqa: E402, F401
