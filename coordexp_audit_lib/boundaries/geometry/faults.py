"""A known-bad pipeline for every claim of this boundary: each breaks one surface of the reference a little."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.geometry import contract as c
from coordexp_audit_lib.boundaries.geometry.bins import BIN_OF_TOKEN, LAST_BIN, TOKENS, extent
from coordexp_audit_lib.boundaries.geometry.reference import text_of
from coordexp_audit_lib.core.claim import fault
from coordexp_audit_lib.core.surface import Refuse

Honest = Callable[[Any], Any]


def changed(struct: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(struct, **fields)


@fault(
    "geometry.legacy_keys_taken",
    surface=c.VALIDATE,
    caught_by=("geometry.record_contract",),
    summary="an object with a legacy geometry key beside bbox_2d or poly is accepted",
)
def legacy_keys_taken(request: Any, honest: Honest) -> Any:
    record = request.record
    if isinstance(record, dict) and isinstance(record.get("objects"), list):
        kept = [{k: v for k, v in o.items() if k not in ("bbox", "polygon")} for o in record["objects"] if _fields(o)]
        if len(kept) == len(record["objects"]):
            return honest(c.RecordRequest({**record, "objects": kept}))
    return honest(request)


@fault(
    "geometry.error_without_path",
    surface=c.VALIDATE,
    caught_by=("geometry.record_contract",),
    summary="a malformed record is refused with an error that does not say where it is wrong",
)
def error_without_path(request: Any, honest: Honest) -> Any:
    try:
        return honest(request)
    except Refuse as error:
        raise Refuse("the record is malformed") from error


def _fields(item: Any) -> bool:
    return isinstance(item, dict)


@fault(
    "geometry.decode_by_1000", surface=c.CODEC, caught_by=("geometry.bins_k999",), summary="the codec divides by 1000"
)
def decode_by_1000(request: Any, honest: Honest) -> Any:
    return changed(honest(request), normalized=[k / 1000 for k in request.bins])


@fault(
    "geometry.pixels_by_1000",
    surface=c.PIXELS,
    caught_by=("geometry.bins_k999",),
    summary="bins are placed in an image by k/1000 of its width",
)
def pixels_by_1000(request: Any, honest: Honest) -> Any:
    x = [k / 1000 * extent(request.width) for k in request.bins]
    return changed(honest(request), x=x, x_rounded=[round(v) for v in x])


@fault(
    "geometry.expectation_by_1000",
    surface=c.EXPECTATION,
    caught_by=("geometry.bins_k999",),
    summary="the expectation decode divides by 1000",
)
def expectation_by_1000(request: Any, honest: Honest) -> Any:
    return c.DecodeResponse([k / 1000 for k in request.bins])


@fault(
    "geometry.boxes_grow",
    surface=c.ENCODE,
    caught_by=("geometry.bins_k999",),
    summary="a box's second corner is encoded with a ceiling instead of rounding to the nearest bin",
)
def boxes_grow(request: Any, honest: Honest) -> Any:
    made = honest(request).objects
    for item, source in zip(made, request.objects, strict=True):
        for i, size in ((2, request.width), (3, request.height)) if "bbox_2d" in item else ():
            item["bbox_2d"][i] = min(LAST_BIN, math.ceil(LAST_BIN * source["bbox_2d"][i] / extent(size)))
    return c.ObjectsResponse(made)


@fault(
    "geometry.bins_clamped",
    surface=c.RENDER,
    caught_by=("geometry.bins_in_range",),
    summary="a coordinate above 999 is clamped instead of refused",
)
def bins_clamped(request: Any, honest: Honest) -> Any:
    record = request.record
    for item in record["objects"]:
        for key in ("bbox_2d", "poly"):
            item[key] = [_clamped(v) for v in item[key]] if key in item else None
            if item[key] is None:
                del item[key]
    return honest(request)


def _clamped(value: Any) -> Any:
    above = value == "<|coord_1000|>" or (isinstance(value, int) and value > LAST_BIN)
    return TOKENS[LAST_BIN] if above else value


@fault(
    "geometry.boxes_repaired",
    surface=c.GT_BOXES,
    caught_by=("geometry.box_ordered",),
    summary="the corners of a crossed ground-truth box are sorted into order",
)
def boxes_repaired(request: Any, honest: Honest) -> Any:
    objects = []
    for item in request.objects:
        x1, y1, x2, y2 = (BIN_OF_TOKEN[t] for t in item["bbox_2d"])
        box = [min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)]
        objects.append({**item, "bbox_2d": [TOKENS[k] for k in box]})
    return honest(c.GtRequest(objects))


@fault(
    "geometry.capped",
    surface=c.RENDER,
    caught_by=("geometry.never_dropped",),
    summary="only the first hundred objects of an image reach the text",
)
def capped(request: Any, honest: Honest) -> Any:
    honest(request)
    return honest(changed(request, record={**request.record, "objects": request.record["objects"][:100]}))


@fault(
    "geometry.geometry_first_refused",
    surface=c.RENDER,
    caught_by=("geometry.never_dropped", "geometry.never_reordered"),
    summary="sound records are refused in one of the two field orders",
)
def geometry_first_refused(request: Any, honest: Honest) -> Any:
    if request.object_field_order == "geometry_first" and request.record["objects"]:
        raise Refuse("objects[0]: wrong key order")
    return honest(request)


@fault(
    "geometry.twins_merged",
    surface=c.RENDER,
    caught_by=("geometry.never_dropped",),
    summary="of two equal objects only one reaches the text",
)
def twins_merged(request: Any, honest: Honest) -> Any:
    honest(request)
    objects: list[Any] = []
    for item in request.record["objects"]:
        if item not in objects:
            objects.append(item)
    return honest(changed(request, record={**request.record, "objects": objects}))


@fault(
    "geometry.long_polygons_cut",
    surface=c.RENDER,
    caught_by=("geometry.never_dropped", "geometry.never_reordered"),
    summary="a polygon of more than eight points loses its last one",
)
def long_polygons_cut(request: Any, honest: Honest) -> Any:
    honest(request)
    objects = [{k: v[:16] if k == "poly" else v for k, v in item.items()} for item in request.record["objects"]]
    return c.RenderResponse(text_of(objects, request.object_field_order))


@fault(
    "geometry.polygons_rotated",
    surface=c.RENDER,
    caught_by=("geometry.never_reordered",),
    summary="a polygon starts at its second point",
)
def polygons_rotated(request: Any, honest: Honest) -> Any:
    honest(request)
    objects = [{k: v[2:] + v[:2] if k == "poly" else v for k, v in o.items()} for o in request.record["objects"]]
    return honest(changed(request, record={**request.record, "objects": objects}, object_ordering="random"))


@fault(
    "geometry.objects_sorted",
    surface=c.RENDER,
    caught_by=("geometry.never_reordered",),
    summary="an unsorted record is sorted instead of refused",
)
def objects_sorted(request: Any, honest: Honest) -> Any:
    try:
        return honest(request)
    except Refuse as error:
        if "top-left" not in str(error):
            raise
        return honest(changed(request, record={**request.record, "objects": request.record["objects"][::-1]}))


@fault(
    "geometry.resized_to_fit",
    surface=c.GRID,
    caught_by=("geometry.no_resize",),
    summary="an image whose sides are no multiples of 32 is resized until they are",
)
def resized_to_fit(request: Any, honest: Honest) -> Any:
    width, height = (max(64, round(s / 32) * 32) for s in (request.width, request.height))
    return honest(c.GridRequest(width, height))


@fault(
    "geometry.max_pixels_ignored",
    surface=c.RENDER,
    caught_by=("geometry.no_resize",),
    summary="an image above max_pixels is let through",
)
def max_pixels_ignored(request: Any, honest: Honest) -> Any:
    return honest(changed(request, max_pixels=10**9))


@fault(
    "geometry.processor_resizes",
    surface=c.GRID,
    caught_by=("geometry.no_resize",),
    summary="the image processor is called without do_resize=False",
)
def processor_resizes(request: Any, honest: Honest) -> Any:
    return changed(honest(request), do_resize=[None])


@fault(
    "geometry.sizes_spot_checked",
    surface=c.GATE,
    caught_by=("geometry.size_matches_file",),
    summary="only the first 256 images of a file are opened before launch",
)
def sizes_spot_checked(request: Any, honest: Honest) -> Any:
    return honest(changed(request, records=request.records[:256]))


@fault(
    "geometry.augment_clips_bins",
    surface=c.AUGMENT,
    caught_by=("geometry.augment_identity",),
    summary="augmentation takes bins for pixels and clips them to the image",
)
def augment_clips_bins(request: Any, honest: Honest) -> Any:
    width, height = request.record["width"], request.record["height"]
    objects = []
    for item in honest(request).objects:
        ((key, values),) = item.items()
        limits = (width - 1, height - 1)
        objects.append({key: [TOKENS[min(BIN_OF_TOKEN[t], limits[i % 2])] for i, t in enumerate(values)]})
    return c.ObjectsResponse(objects)


@fault(
    "geometry.order_from_worker",
    surface=c.ORDER,
    caught_by=("geometry.sampling_deterministic",),
    summary="the order inside a sample depends on how many loader workers there are",
)
def order_from_worker(request: Any, honest: Honest) -> Any:
    return honest(changed(request, seed=request.seed + request.workers))


@fault(
    "geometry.order_keeps_state",
    surface=c.ORDER,
    caught_by=("geometry.sampling_deterministic",),
    summary="a sample depends on which samples were asked for before it",
)
def order_keeps_state(request: Any, honest: Honest) -> Any:
    epochs = honest(request).epochs
    epochs = [[c.Sample(s.record, f"{s.digest}{i}") for i, s in enumerate(epoch)] for epoch in epochs]
    return c.OrderResponse(epochs)
