"""Encode is clamp(round(999*c), 0, 999) and decode is k/999 for all 1000 bins, in every function that does either;
nothing divides by or multiplies with 1000.

The model learns boxes in the bins of the encoder; the geometry losses and the evaluation read them with the decoder.
Where the two differ, every predicted box is off by a scale that no training removes: IoU at high thresholds drops, and
the regression targets contradict the tokens.

P1, for it is at most one bin, and what the data that a run trains on was written with is not seen.

Example: pixel 125 of an axis of 1000 is bin 125; a converter that rounds up writes 126, and the box grows."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from typing import Any

from coordexp_audit_lib.boundaries.geometry import cases
from coordexp_audit_lib.boundaries.geometry import surfaces as s
from coordexp_audit_lib.boundaries.geometry.faults import changed
from coordexp_audit_lib.boundaries.geometry.predicates import bins as b
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.surface import Surface
from coordexp_audit_lib.kit.boxes import BIN_COUNT, LAST_BIN, TOKENS, decode, extent

ALL_BINS = list(range(BIN_COUNT))
SIZES = ((1000, 1000), (640, 480), (1248, 832), (333, 777))


@claim(
    severity="P1",
    kind="B",
    remedy="Use the one codec for every conversion; round to the nearest bin and divide by 999.",
)
def bins_k999(ctx: Context) -> Iterator[Violation | Problem]:
    for surface in (s.CODEC, s.ANNOTATE):
        yield from ctx.part(surface.name, _decodes(ctx, surface))
    yield from ctx.part(s.COORD_TOKENS.name, _tokens(ctx))
    yield from ctx.part(s.EXPECTATION.name, _peak(ctx))
    for width, height in SIZES:
        yield from ctx.part(s.PIXELS.name, _pixels(ctx, width, height))
    yield from ctx.part(s.ENCODE.name, _encodes(ctx))


def _named(found: Iterable[Problem], subject: str, where: Where | None = None) -> Iterator[Problem]:
    return (b.named(p, subject, where=where) for p in found)


def _decodes(ctx: Context, surface: Surface[s.BinsRequest, s.CodecResponse]) -> Iterator[Violation | Problem]:
    answer = ctx.value(surface, s.BinsRequest(ALL_BINS))
    ctx.judged(BIN_COUNT)
    yield from _roundtrip(surface.name, answer.tokens, answer.ints)
    yield from _named(b.decode_problems(answer.normalized, ALL_BINS, b.EXACT, ""), surface.name)


def _tokens(ctx: Context) -> Iterator[Violation]:
    tokens = ctx.value(s.COORD_TOKENS, s.BinsRequest(ALL_BINS))
    ctx.judged(BIN_COUNT)
    yield from _roundtrip(s.COORD_TOKENS.name, tokens.tokens, tokens.ints)


def _peak(ctx: Context) -> Iterator[Problem]:
    peak = ctx.value(s.EXPECTATION, s.BinsRequest(ALL_BINS))
    ctx.judged(BIN_COUNT)
    yield from _named(b.decode_problems(peak.normalized, ALL_BINS, b.SINGLE, ""), s.EXPECTATION.name)


def _roundtrip(name: str, tokens: list[str], ints: list[int]) -> Iterator[Violation]:
    if tokens != list(TOKENS) or ints != ALL_BINS:
        got = list(zip(tokens, ints, strict=False))
        wrong = [k for k in ALL_BINS if k >= len(got) or got[k] != (TOKENS[k], k)]
        first = wrong[0]
        message = f"{name}: {len(wrong)} bins do not come back from their token, the first is bin {first}"
        yield Violation(message, name, [TOKENS[first], first], list(got[first]) if first < len(got) else None, first)


def _pixels(ctx: Context, width: int, height: int) -> Iterator[Problem]:
    request = s.PixelsRequest(ALL_BINS, width, height)
    at = ctx.value(s.PIXELS, request)
    corner = ctx.value(s.CORNERS, request)
    axes = (("x", width, at.x, at.x_rounded, corner.x), ("y", height, at.y, at.y_rounded, corner.y))
    for axis, size, exact, rounded, corners in axes:
        ctx.judged(BIN_COUNT)
        where = f"{axis} of {width}x{height}"
        found = b.pixel_problems(exact, ALL_BINS, size, where) + b.rounded_problems(rounded, exact, size, where)
        yield from _named(found, s.PIXELS.name, ctx.where(s.PIXELS))
        given = [(k, v) for k, v in zip(ALL_BINS, corners, strict=False) if v is not None]
        if not given:
            ctx.left_out(f"{s.CORNERS.name} along {where}", "no box is placed in the image")
        ideal = [decode(k) * extent(size) for k, _ in given]
        yield from _named(b.rounded_problems([v for _, v in given], ideal, size, where), s.CORNERS.name)


def _encodes(ctx: Context) -> Iterator[Problem]:
    """All bins at a size where pixel k is c = k/999, then real boxes and random geometry at other sizes."""
    whole = [{"desc": "all bins", "poly": [v for k in ALL_BINS for v in (k, k)]}]
    boxes = [{"desc": str(k), "bbox_2d": [k, k, k + 1, k + 1]} for k in range(0, LAST_BIN, 2)]
    yield from _encode(ctx, "poly", "in an image of 1000x1000", [(whole, 1000, 1000)])
    yield from _encode(ctx, "bbox_2d", "in an image of 1000x1000", [(boxes, 1000, 1000)])
    real = [(row["gt"], row["width"], row["height"]) for row in cases.real_boxes()]
    yield from _encode(ctx, "bbox_2d", "for real boxes", real)
    for width, height in SIZES[1:]:
        rng = ctx.rng("encode", width, height)
        points = [round(rng.uniform(0, side - 1), 2) for _ in range(64) for side in (width, height)]
        drawn = [{"desc": "points", "poly": points}]
        yield from _encode(ctx, "poly", f"in an image of {width}x{height}", [(drawn, width, height)])


def _encode(
    ctx: Context, key: str, where: str, images: list[tuple[list[dict[str, Any]], int, int]]
) -> Iterator[Problem]:
    """images: objects in pixels, width and height of each."""
    pixels, bins, sizes = list[float](), list[int](), list[int]()
    for objects, width, height in images:
        made = ctx.value(s.ENCODE, s.EncodeRequest(copy.deepcopy(objects), width, height)).objects
        pixels += [v for item in objects for v in item[key]]
        bins += [v for item in made for v in item.get(key, [])]
        sizes += [width, height] * ((len(pixels) - len(sizes)) // 2)
    ctx.judged(len(pixels))
    yield from _named(b.encode_problems(pixels, bins, sizes, ""), f"the pixel-to-bin converter on {key} {where}")


def by_1000(bins: list[int]) -> list[float]:
    return [k / 1000 for k in bins]


fault(bins_k999, "decode_by_1000", s.CODEC, "the codec divides by 1000")(
    lambda request, honest: changed(honest(request), normalized=by_1000(request.bins))
)
fault(bins_k999, "expectation_by_1000", s.EXPECTATION, "the expectation decode divides by 1000")(
    lambda request, honest: s.DecodeResponse(by_1000(request.bins))
)


@fault(bins_k999, "pixels_by_1000", s.PIXELS, "bins are placed in an image by k/1000 of its width")
def pixels_by_1000(request: s.PixelsRequest, honest: Honest) -> Any:
    x = [c * extent(request.width) for c in by_1000(request.bins)]
    return changed(honest(request), x=x, x_rounded=[round(v) for v in x])


@fault(
    bins_k999,
    "boxes_grow",
    s.ENCODE,
    "a box's second corner is encoded with a ceiling instead of rounding to the nearest bin",
)
def boxes_grow(request: s.EncodeRequest, honest: Honest) -> Any:
    made = honest(request).objects
    for item, source in zip(made, request.objects, strict=True):
        for i, size in ((2, request.width), (3, request.height)) if "bbox_2d" in item else ():
            item["bbox_2d"][i] = min(LAST_BIN, math.ceil(LAST_BIN * source["bbox_2d"][i] / extent(size)))
    return s.ObjectsResponse(made)
