"""Text positions restart at 0 in each segment, and the mRoPE rows equal those computed for each sample unpacked: in the
batch, and as the trainer hands them to the model.

Positions tell the model where in its own text a token stands and where in its own image a patch lies. A row that runs
on, is missing or has height and width exchanged trains the boxes of one sample on distances that no inference will
show it; where attention reads its boundaries from the positions, it joins the samples as well.

Example: text of 2 tokens, then an image of 4 x 6 patches at position 2: its six tokens have T = 2, H = 2, 2, 2, 3, 3,
3 and W = 2, 3, 4, 2, 3, 4, and text goes on at 5."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator

import numpy as np
from msgspec.structs import replace

from coordexp_audit_lib.boundaries.packing.artifact import PackedRow
from coordexp_audit_lib.boundaries.packing.cases import ROLLOUT, each_batch, forward_requests, packers, profile_of
from coordexp_audit_lib.boundaries.packing.faults import Ints, calls, edited, second
from coordexp_audit_lib.boundaries.packing.predicates import positions
from coordexp_audit_lib.boundaries.packing.surfaces import BATCH, FORWARD, Batch
from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.problem import Undecided

QWEN = "src/transformers/models/qwen3_vl/modeling_qwen3_vl.py"


@claim(
    severity="P0",
    kind="B",
    remedy="Number each sample's tokens from 0, and make its mRoPE rows from its own grids, before samples are joined.",
    spec=(Citation("huggingface/transformers", QWEN, "Qwen3VLModel.get_rope_index", "v4.57.6"),),
)
def positions_restart(ctx: Context) -> Iterator[Violation]:
    yield from each_batch(ctx, positions.positions_restart)
    if ctx.answers(FORWARD):
        yield from _handed(ctx)
    else:
        ctx.not_there("what the model is called with", "no trainer of this tree can be watched")


positions_restart.on(PackedRow, positions.positions_restart)


def _handed(ctx: Context) -> Iterator[Violation]:
    """What the model is called with, by what a trainer makes of a batch. A call that tells its ids and positions is
    judged as a batch is; that a trainer does not make the call, or gives no positions, is another claim's. Under
    `sdpa`, for which nothing has to stand in on a CPU: positions are the same under every kernel."""
    for name, request in forward_requests():
        label, answer = f"{name}, as the model gets them", None
        if request.attention != "sdpa" or (request.path != "dataset" and ROLLOUT not in packers(ctx)):
            continue
        try:
            with ctx.case(label):
                answer = ctx.ask(FORWARD, request).content
        except SurfaceUnbound as error:
            ctx.not_there(label, error.what)
        for pack in answer.packs if answer else ():
            sizes = {"lengths": pack.lengths}
            if {"input_ids", "position_ids"} - pack.called.keys():
                continue
            row = PackedRow({k: np.array(v, np.int64) for k, v in {**pack.called, **sizes}.items()}, profile_of(ctx))
            with contextlib.suppress(Undecided):  # rows that tell nothing: `segments_isolated`
                for p in positions.positions_restart(row, ctx):
                    case = {"case": label, "members": pack.members, **sizes, "token": p.token}
                    yield replace(p.violation(label), subject=label, counterexample=case)


RUN_ON, ALSO = "text positions count through the whole pack", ("packing.fields_aligned",)
fault(positions_restart, "positions_run_on", BATCH, RUN_ON, also=ALSO)(
    edited(lambda ints, made: ints.update(text_position_ids=[list(range(len(ints["input_ids"][0])))]))
)
PADS = "text after an image goes on at the number of its pads, not at the longer side of its grid"
fault(positions_restart, "image_counts_its_pads", BATCH, PADS)(
    edited(lambda ints, made: ints.update(position_ids=[copy.deepcopy(ints["text_position_ids"]) for _ in range(3)]))
)


@fault(positions_restart, "mrope_runs_on", BATCH, "the mRoPE rows of the second sample go on from those of the first")
@edited
def mrope_runs_on(ints: Ints, made: Batch) -> None:
    at = second(ints)
    for (row,) in ints["position_ids"]:
        row[at:] = [p + at for p in row[at:]]


@fault(positions_restart, "height_and_width_swapped", BATCH, "the mRoPE rows of height and width are exchanged")
@edited
def height_and_width_swapped(ints: Ints, made: Batch) -> None:
    ints["position_ids"][1:] = ints["position_ids"][:0:-1]


SWAPPED = "the trainer hands the model the row of width before that of height, of a pack and of a sample alike"
fault(positions_restart, "swapped_at_the_call", FORWARD, SWAPPED)(calls(wide_first=True))
