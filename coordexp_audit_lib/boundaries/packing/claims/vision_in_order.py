"""Images, grids and pixel rows follow the samples' order and add up.

The model puts the rows of `pixel_values` at the image tokens one after the other. If two images of one size change
places, every shape still fits and every box is learned on the wrong picture; if their number does not fit, the model
raises, or shifts all images behind the place.

Example: a grid of (1, 4, 6) has 24 pixel rows and, merged two by two, 6 image tokens."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.packing.artifact import PackedRow
from coordexp_audit_lib.boundaries.packing.cases import each_batch
from coordexp_audit_lib.boundaries.packing.faults import Ints, edited
from coordexp_audit_lib.boundaries.packing.predicates import vision
from coordexp_audit_lib.boundaries.packing.surfaces import BATCH, Batch
from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.finding import Violation

SWAPPED = "the pixel rows of two images of one size are exchanged; every count still adds up"
QWEN = "src/transformers/models/qwen3_vl/modeling_qwen3_vl.py"


@claim(
    severity="P0",
    kind="B",
    remedy="Concatenate image_grid_thw and pixel_values over the same list of samples as input_ids.",
    spec=(Citation("huggingface/transformers", QWEN, "Qwen3VLModel.get_placeholder_mask", "v4.57.6"),),
)
def vision_in_order(ctx: Context) -> Iterator[Violation]:
    yield from each_batch(ctx, vision.vision_in_order)


vision_in_order.on(PackedRow, vision.vision_in_order)


@fault(vision_in_order, "images_swapped", BATCH, SWAPPED)
@edited
def images_swapped(ints: Ints, made: Batch) -> None:
    sizes = [t * h * w for t, h, w in ints.get("image_grid_thw", [])]
    rows = made.pixel_rows
    if rows and len(sizes) > 1 and sizes[0] == sizes[1]:
        n = sizes[0]
        rows[:n], rows[n : 2 * n] = rows[n : 2 * n], rows[:n]


fault(vision_in_order, "grids_reversed", BATCH, "image grids stand in the reverse order")(
    edited(lambda ints, made: ints.get("image_grid_thw", []).reverse())
)


@fault(vision_in_order, "last_image_lost", BATCH, "the pixel rows of the last image are not collated")
@edited
def last_image_lost(ints: Ints, made: Batch) -> None:
    sizes = [t * h * w for t, h, w in ints.get("image_grid_thw", [])]
    if made.pixel_rows and sizes:
        del made.pixel_rows[-sizes[-1] :]


fault(vision_in_order, "image_twice", BATCH, "the grid of the first image stands twice")(
    edited(lambda ints, made: ints.update({k: [*v[:1], *v] for k, v in ints.items() if k == "image_grid_thw"}))
)
