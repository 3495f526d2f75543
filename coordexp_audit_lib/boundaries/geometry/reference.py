"""The reference pipeline at this boundary: small, strict, and right by construction."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from coordexp_audit_lib.boundaries.geometry import surfaces as s
from coordexp_audit_lib.boundaries.geometry.predicates.records import GEOMETRY_KEYS, Ordering, Record, problems
from coordexp_audit_lib.core.evidence import digest
from coordexp_audit_lib.core.surface import Refuse, answers
from coordexp_audit_lib.kit import coordjson
from coordexp_audit_lib.kit.boxes import BIN_COUNT, BIN_OF_TOKEN, LAST_BIN, bin_of, decode, encode_pixel, extent, tokens
from coordexp_audit_lib.kit.picture import MULTIPLE, PATCH


def refuse(record: Record, *claims: str) -> None:
    """Refuse on the first problem (of these claims, if any are named), naming its path and the remedy."""
    for claim, p in problems(record):
        if not claims or claim in claims:
            where = p.subject or "record"
            raise Refuse(f"{where}: {p.message}; expected {p.expected}, got {p.actual!r}: mend the record")


def _image(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise Refuse(f"width*height: {width}x{height} exceeds max_pixels={max_pixels}: rescale the image offline")
    if width % MULTIPLE or height % MULTIPLE:
        raise Refuse(f"width, height: {width}x{height} is no multiple of {MULTIPLE}: rescale the image offline")


@answers(s.VALIDATE)
def validate_record(request: s.RecordRequest) -> s.Accepted:
    refuse(Record(request.record), "geometry.record_contract")
    return s.Accepted()


@answers(s.CODEC)
def codec(request: s.BinsRequest) -> s.CodecResponse:
    told = coord_tokens(request)
    return s.CodecResponse(told.tokens, told.ints, [decode(k) for k in request.bins])


@answers(s.COORD_TOKENS)
def coord_tokens(request: s.BinsRequest) -> s.TokensResponse:
    made = tokens(request.bins)
    return s.TokensResponse(made, [BIN_OF_TOKEN[t] for t in made])


@answers(s.ANNOTATE)
def annotate(request: s.BinsRequest) -> s.CodecResponse:
    return codec(request)


@answers(s.EXPECTATION)
def expectation(request: s.BinsRequest) -> s.DecodeResponse:
    """Σ p(k)·k/999 of a distribution that is all on one bin."""
    p = np.zeros((len(request.bins), BIN_COUNT), dtype=np.float64)
    p[np.arange(len(request.bins)), request.bins] = 1.0
    return s.DecodeResponse([float(v) for v in p @ (np.arange(BIN_COUNT) / LAST_BIN)])


@answers(s.PIXELS)
def to_pixels(request: s.PixelsRequest) -> s.PixelsResponse:
    x = [decode(k) * extent(request.width) for k in request.bins]
    y = [decode(k) * extent(request.height) for k in request.bins]
    return s.PixelsResponse(x, y, [round(v) for v in x], [round(v) for v in y])


@answers(s.CORNERS)
def corners(request: s.PixelsRequest) -> s.CornersResponse:
    at = to_pixels(request)
    real = [x > 0 and y > 0 for x, y in zip(at.x_rounded, at.y_rounded, strict=True)]
    x = [v if r else None for v, r in zip(at.x_rounded, real, strict=True)]
    y = [v if r else None for v, r in zip(at.y_rounded, real, strict=True)]
    return s.CornersResponse(x, y)


@answers(s.ENCODE)
def encode(request: s.EncodeRequest) -> s.ObjectsResponse:
    whole = {"images": [], "objects": request.objects, "width": request.width, "height": request.height}
    refuse(Record(whole, "pixels"))
    sizes = (request.width, request.height)
    made = []
    for item in request.objects:
        key = next(k for k in GEOMETRY_KEYS if k in item)
        bins = [encode_pixel(v, sizes[i % 2]) for i, v in enumerate(item[key])]
        made.append({"desc": item["desc"], key: bins})
    return s.ObjectsResponse(made)


@answers(s.GT_BOXES)
def gt_boxes(request: s.GtRequest) -> s.GtResponse:
    if any("poly" in item for item in request.objects):
        raise Refuse("objects: only bbox_2d is trained here: convert polygons to boxes")
    return gt_objects(request)


@answers(s.GT_OBJECTS)
def gt_objects(request: s.GtRequest) -> s.GtResponse:
    refuse(Record({"images": [], "objects": request.objects, "width": 1, "height": 1}))
    return s.GtResponse([_bins(item) for item in request.objects])


def _bins(item: dict[str, Any]) -> list[int]:
    values = next(item[k] for k in GEOMETRY_KEYS if k in item)
    return [b for b in map(bin_of, values) if b is not None]


@answers(s.RENDER)
def render(request: s.RenderRequest) -> s.RenderResponse:
    record = request.record
    ordering: Ordering = "sorted" if request.object_ordering == "sorted" else "random"
    refuse(Record(record, "bins", ordering))
    if record["width"] * record["height"] > request.max_pixels:
        _image(record["width"], record["height"], request.max_pixels)
    items = list(record["objects"])
    if ordering == "random":
        random.Random(f"{request.seed}/0/0").shuffle(items)
    return s.RenderResponse(text_of(items, request.object_field_order))


def text_of(items: list[dict[str, Any]], order: coordjson.Order) -> str:
    """The CoordJSON text of sound objects."""
    keys = [next(k for k in GEOMETRY_KEYS if k in item) for item in items]
    shown = [coordjson.record(i["desc"].strip(), key, _bins(i), order) for i, key in zip(items, keys, strict=True)]
    return coordjson.container(*shown)


@answers(s.ORDER)
def sample_order(request: s.OrderRequest) -> s.OrderResponse:
    return s.OrderResponse([_epoch(request, epoch) for epoch in request.epochs])


def _epoch(request: s.OrderRequest, epoch: int) -> list[s.Sample]:
    """A pure function of seed, epoch and index: nothing else is read."""
    order = list(range(len(request.records)))
    random.Random(f"{request.seed}/{epoch}").shuffle(order)
    samples = []
    for index in request.indices:
        at = order[index % len(order)]
        items = list(request.records[at]["objects"])
        if request.object_ordering == "random":
            random.Random(f"{request.seed}/{epoch}/{index}").shuffle(items)
        samples.append(s.Sample(at, digest(text_of(items, "desc_first"))))
    return samples


@answers(s.GRID)
def processor_grid(request: s.GridRequest) -> s.GridResponse:
    _image(request.width, request.height, request.max_pixels)
    grid = [1, request.height // PATCH, request.width // PATCH]
    return s.GridResponse(do_resize=[False], grid=grid, patch=PATCH, fetched="none")


@answers(s.GATE)
def launch_gate(request: s.GateRequest) -> s.GateResponse:
    """Every record of every split is checked, and every image's size read."""
    for row in request.records:
        refuse(Record(row))
        _image(row["width"], row["height"], request.max_pixels)
        for image in row["images"]:
            size = request.files[int(image.removeprefix("images/").removesuffix(".png"))]
            if size != [row["width"], row["height"]]:
                return s.GateResponse(accepted=False, runs=1, lines=[])
    return s.GateResponse(accepted=True, runs=1, lines=[])


@answers(s.AUGMENT)
def augment(request: s.AugmentRequest) -> s.ObjectsResponse:
    refuse(Record(request.record))
    return s.ObjectsResponse([{k: v for k, v in item.items() if k != "desc"} for item in request.record["objects"]])
