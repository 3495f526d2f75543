"""Boxes and the 1000 coordinate bins: how a coordinate becomes a bin, a token and a coordinate again.

A coordinate c lies in [0, 1]. Along an axis of `size` pixels, pixel x has c = x / max(1, size - 1): the first pixel's
centre is 0 and the last one's is 1. Bins k are ints in 0..999, a token is `<|coord_k|>`. A box is x1, y1, x2, y2, a
polygon x, y, x, y, …
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

LAST_BIN = 999
BIN_COUNT = LAST_BIN + 1


def token(k: int) -> str:
    """The token of bin k."""
    return f"<|coord_{k}|>"


def tokens(bins: Iterable[int]) -> list[str]:
    """The tokens of bins, as a list."""
    return [token(k) for k in bins]


TOKENS: tuple[str, ...] = tuple(tokens(range(BIN_COUNT)))
BIN_OF_TOKEN = {name: k for k, name in enumerate(TOKENS)}


def nearest(position: float) -> int:
    """clamp(round(position), 0, 999), for a position in units of bins."""
    return min(LAST_BIN, max(0, round(position)))


def encode(coordinate: float) -> int:
    """clamp(round(999·c), 0, 999)."""
    return nearest(LAST_BIN * coordinate)


def extent(size: int) -> float:
    """The last pixel of an axis of `size` pixels, as the denominator of c."""
    return float(max(1, size - 1))


def encode_pixel(pixel: float, size: int) -> int:
    """The bin of a pixel position along an axis of `size` pixels, whose last pixel is bin 999."""
    return encode(pixel / extent(size))


def encode_share(position: float, side: float) -> int:
    """The bin of a position as a share of the whole side: bin 999 is the edge behind the last pixel."""
    return nearest(LAST_BIN * position / side)


def decode(k: int) -> float:
    """k/999: bin 0 is 0.0, bin 999 is 1.0."""
    return k / LAST_BIN


def bin_of(value: Any) -> int | None:
    """The bin that a record's coordinate states: a canonical token or an int in 0..999; None for anything else.

    `true`, `12.0`, `"12"`, `<|coord_007|>` and `<|coord_1000|>` are none of these.
    """
    if isinstance(value, str):
        return BIN_OF_TOKEN.get(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LAST_BIN:
        return value
    return None


CHARTS = ("xyxy", "cxcywh", "cxcy_logw_logh")
"""What a box's four bins may be in prepared files: corners; centre and size; centre and logarithms of the size."""
_LEAST_SIDE = 1 / 1024


def corners(box: Sequence[float], chart: str) -> tuple[float, float, float, float]:
    """x1, y1, x2, y2 in units of bins, of a box of four bins in one of `CHARTS`; they may lie outside 0..999.

    A logarithmic side u of 0..1 is 1/1024 of the axis at 0 and the whole of it at 1; no side is shorter than that.
    """
    if chart == "xyxy":
        return box[0], box[1], box[2], box[3]
    shares = [max(v / LAST_BIN, 0.0) for v in box[2:]]
    w, h = (_LEAST_SIDE ** (1 - u) if chart == "cxcy_logw_logh" else max(u, _LEAST_SIDE) for u in shares)
    dx, dy = w * LAST_BIN / 2, h * LAST_BIN / 2
    return box[0] - dx, box[1] - dy, box[0] + dx, box[1] + dy


def is_ordered(box: Sequence[float]) -> bool:
    """Whether x1 <= x2 and y1 <= y2; a box without area is in order."""
    x1, y1, x2, y2 = box
    return x1 <= x2 and y1 <= y2


def has_area(box: Sequence[float]) -> bool:
    """Whether x1 < x2 and y1 < y2."""
    x1, y1, x2, y2 = box
    return x1 < x2 and y1 < y2


def top_left(points: Sequence[float]) -> tuple[float, float]:
    """(y, x) of the top left corner of the tight box around flat points: what objects are sorted by."""
    return min(points[1::2]), min(points[0::2])


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes in order; 0.0 where the union has no area."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    inter = max(0.0, width) * max(0.0, height)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    return inter / union if union > 0 else 0.0
