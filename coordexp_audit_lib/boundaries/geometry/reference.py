"""The reference pipeline at this boundary: small, strict, and right by construction."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from typing import Any

import numpy as np

from coordexp_audit_lib.boundaries.geometry import contract as c
from coordexp_audit_lib.boundaries.geometry.bins import (
    BIN_COUNT,
    BIN_OF_TOKEN,
    LAST_BIN,
    TOKENS,
    Problem,
    bin_of,
    decode,
    encode_pixel,
    extent,
)
from coordexp_audit_lib.boundaries.geometry.records import CONTRACT, GEOMETRY_KEYS, Ordering, problems
from coordexp_audit_lib.core.evidence import digest
from coordexp_audit_lib.core.surface import Refuse, answers

PATCH, MERGE = 16, 2
MULTIPLE = PATCH * MERGE


def refuse(found: Iterable[Problem]) -> None:
    """Refuse on the first problem, naming its path and the remedy."""
    for p in found:
        raise Refuse(f"{p.path or 'record'}: {p.message}; expected {p.expected}, got {p.actual!r}: mend the record")


def _image(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise Refuse(f"width*height: {width}x{height} exceeds max_pixels={max_pixels}: rescale the image offline")
    if width % MULTIPLE or height % MULTIPLE:
        raise Refuse(f"width, height: {width}x{height} is no multiple of {MULTIPLE}: rescale the image offline")


@answers(c.VALIDATE)
def validate_record(request: c.RecordRequest) -> c.Accepted:
    refuse(p for p in problems(request.record) if p.invariant == CONTRACT)
    return c.Accepted()


@answers(c.CODEC)
def codec(request: c.BinsRequest) -> c.CodecResponse:
    tokens = [TOKENS[k] for k in request.bins]
    return c.CodecResponse(tokens, [BIN_OF_TOKEN[t] for t in tokens], [decode(k) for k in request.bins])


@answers(c.COORD_TOKENS)
def coord_tokens(request: c.BinsRequest) -> c.TokensResponse:
    tokens = [TOKENS[k] for k in request.bins]
    return c.TokensResponse(tokens, [BIN_OF_TOKEN[t] for t in tokens])


@answers(c.ANNOTATE)
def annotate(request: c.BinsRequest) -> c.CodecResponse:
    return codec(request)


@answers(c.EXPECTATION)
def expectation(request: c.BinsRequest) -> c.DecodeResponse:
    """Σ p(k)·k/999 of a distribution that is all on one bin."""
    p = np.zeros((len(request.bins), BIN_COUNT), dtype=np.float64)
    p[np.arange(len(request.bins)), request.bins] = 1.0
    return c.DecodeResponse([float(v) for v in p @ (np.arange(BIN_COUNT) / LAST_BIN)])


@answers(c.PIXELS)
def to_pixels(request: c.PixelsRequest) -> c.PixelsResponse:
    x = [decode(k) * extent(request.width) for k in request.bins]
    y = [decode(k) * extent(request.height) for k in request.bins]
    return c.PixelsResponse(x, y, [round(v) for v in x], [round(v) for v in y])


@answers(c.CORNERS)
def corners(request: c.PixelsRequest) -> c.CornersResponse:
    at = to_pixels(request)
    real = [x > 0 and y > 0 for x, y in zip(at.x_rounded, at.y_rounded, strict=True)]
    x = [v if r else None for v, r in zip(at.x_rounded, real, strict=True)]
    y = [v if r else None for v, r in zip(at.y_rounded, real, strict=True)]
    return c.CornersResponse(x, y)


@answers(c.ENCODE)
def encode(request: c.EncodeRequest) -> c.ObjectsResponse:
    whole = {"images": [], "objects": request.objects, "width": request.width, "height": request.height}
    refuse(problems(whole, "pixels"))
    sizes = (request.width, request.height)
    made = []
    for item in request.objects:
        key = next(k for k in GEOMETRY_KEYS if k in item)
        bins = [encode_pixel(v, sizes[i % 2]) for i, v in enumerate(item[key])]
        made.append({"desc": item["desc"], key: bins})
    return c.ObjectsResponse(made)


@answers(c.GT_BOXES)
def gt_boxes(request: c.GtRequest) -> c.GtResponse:
    if any("poly" in item for item in request.objects):
        raise Refuse("objects: only bbox_2d is trained here: convert polygons to boxes")
    return gt_objects(request)


@answers(c.GT_OBJECTS)
def gt_objects(request: c.GtRequest) -> c.GtResponse:
    refuse(problems({"images": [], "objects": request.objects, "width": 1, "height": 1}))
    return c.GtResponse([_bins(item) for item in request.objects])


def _bins(item: dict[str, Any]) -> list[int]:
    values = next(item[k] for k in GEOMETRY_KEYS if k in item)
    return [b for b in map(bin_of, values) if b is not None]


@answers(c.RENDER)
def render(request: c.RenderRequest) -> c.RenderResponse:
    record = request.record
    ordering: Ordering = "sorted" if request.object_ordering == "sorted" else "random"
    refuse(problems(record, "bins", ordering))
    if record["width"] * record["height"] > request.max_pixels:
        _image(record["width"], record["height"], request.max_pixels)
    items = list(record["objects"])
    if ordering == "random":
        random.Random(f"{request.seed}/0/0").shuffle(items)
    return c.RenderResponse(text_of(items, request.object_field_order))


def text_of(items: list[dict[str, Any]], field_order: str) -> str:
    """The CoordJSON text of sound objects."""
    shown = []
    for item in items:
        key = next(k for k in GEOMETRY_KEYS if k in item)
        parts = [f'"desc": {json.dumps(item["desc"].strip(), ensure_ascii=False)}']
        parts.append(f'"{key}": [{", ".join(TOKENS[b] for b in _bins(item))}]')
        shown.append("{" + ", ".join(parts if field_order == "desc_first" else parts[::-1]) + "}")
    return '{"objects": [' + ", ".join(shown) + "]}"


@answers(c.ORDER)
def sample_order(request: c.OrderRequest) -> c.OrderResponse:
    return c.OrderResponse([_epoch(request, epoch) for epoch in request.epochs])


def _epoch(request: c.OrderRequest, epoch: int) -> list[c.Sample]:
    """A pure function of seed, epoch and index: nothing else is read."""
    order = list(range(len(request.records)))
    random.Random(f"{request.seed}/{epoch}").shuffle(order)
    samples = []
    for index in request.indices:
        at = order[index % len(order)]
        items = list(request.records[at]["objects"])
        if request.object_ordering == "random":
            random.Random(f"{request.seed}/{epoch}/{index}").shuffle(items)
        samples.append(c.Sample(at, digest(text_of(items, "desc_first"))))
    return samples


@answers(c.GRID)
def processor_grid(request: c.GridRequest) -> c.GridResponse:
    _image(request.width, request.height, request.max_pixels)
    grid = [1, request.height // PATCH, request.width // PATCH]
    return c.GridResponse(do_resize=[False], grid=grid, patch=PATCH, fetched="none")


@answers(c.GATE)
def launch_gate(request: c.GateRequest) -> c.GateResponse:
    """Every record of every split is checked, and every image's size read."""
    for row in request.records:
        refuse(problems(row))
        _image(row["width"], row["height"], request.max_pixels)
        for image in row["images"]:
            size = request.files[int(image.removeprefix("images/").removesuffix(".png"))]
            if size != [row["width"], row["height"]]:
                return c.GateResponse(accepted=False, runs=1, lines=[])
    return c.GateResponse(accepted=True, runs=1, lines=[])


@answers(c.AUGMENT)
def augment(request: c.AugmentRequest) -> c.ObjectsResponse:
    refuse(problems(request.record))
    return c.ObjectsResponse([{k: v for k, v in item.items() if k != "desc"} for item in request.record["objects"]])
