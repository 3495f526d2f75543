"""The 1000 coordinate bins: how a coordinate becomes a bin, a token, and a coordinate again.

A coordinate c lies in [0, 1]; along an axis of `size` pixels, pixel x has c = x / max(1, size - 1), so that the first
pixel's centre is 0 and the last one's is 1 (capability `coord-token-mode`). Bins are ints in 0..999.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

LAST_BIN = 999
BIN_COUNT = LAST_BIN + 1
TOKENS: tuple[str, ...] = tuple(f"<|coord_{k}|>" for k in range(BIN_COUNT))
BIN_OF_TOKEN: dict[str, int] = {token: k for k, token in enumerate(TOKENS)}
EXACT = 1e-12
SINGLE = 1e-6
"""Tolerances: of float64 arithmetic, and of a float32 expectation over 1000 bins."""


class Problem(msgspec.Struct, frozen=True):
    """One way in which data breaks a claim: which invariant, where (a path in the data), what, found and expected."""

    invariant: str
    path: str
    message: str
    expected: Any = None
    actual: Any = None


def extent(size: int) -> float:
    """The last pixel of an axis of `size` pixels, as the denominator of c."""
    return float(max(1, size - 1))


def encode(coordinate: float) -> int:
    """clamp(round(999·c), 0, 999)."""
    return min(LAST_BIN, max(0, round(LAST_BIN * coordinate)))


def encode_pixel(pixel: float, size: int) -> int:
    """The bin of a pixel position along an axis of `size` pixels."""
    return encode(pixel / extent(size))


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


def decode_problems(normalized: Sequence[float], bins: Sequence[int], tolerance: float, path: str) -> list[Problem]:
    """Bins whose decoded coordinate is not k/999 within `tolerance`."""
    if len(normalized) != len(bins):
        return [_problem(path, "a decode gives another number of values than it got", len(bins), len(normalized))]
    wrong = [(k, c) for k, c in zip(bins, normalized, strict=True) if not abs(c - decode(k)) <= tolerance]
    if not wrong:
        return []
    k, c = wrong[0]
    note = " (this is k/1000)" if abs(c - k / 1000) <= tolerance else ""
    message = f"{len(wrong)} of {len(bins)} bins do not decode to k/999, the first is bin {k}{note}"
    return [_problem(path, message, decode(k), c)]


def pixel_problems(pixels: Sequence[float], bins: Sequence[int], size: int, path: str) -> list[Problem]:
    """Bins whose exact pixel position is not k/999 of the axis; the axis may end at `size` or at `size` - 1."""
    if len(pixels) != len(bins):
        return [_problem(path, "a decode gives another number of pixels than it got bins", len(bins), len(pixels))]
    at = dict(zip(bins, pixels, strict=True))
    ends = (at.get(0, 0.0), at.get(LAST_BIN, extent(size)))
    if ends[0] != 0.0 or ends[1] not in (extent(size), float(size)):
        return [_problem(path, "the first and last bin are not the image's ends", [0.0, extent(size)], list(ends))]
    return decode_problems([p / ends[1] for p in pixels], bins, 1e-9, path)


def rounded_problems(rounded: Sequence[int], exact: Sequence[float], size: int, path: str) -> list[Problem]:
    """Integer pixels further than half a pixel from the exact position, or outside the image."""
    wrong = [
        i
        for i, (r, x) in enumerate(zip(rounded, exact, strict=True))
        if abs(r - min(x, size - 1)) > 0.5 + 1e-9 or not 0 <= r < size
    ]
    if not wrong:
        return []
    i = wrong[0]
    message = f"{len(wrong)} of {len(exact)} positions are more than half a pixel off or outside the image"
    return [_problem(path, message, exact[i], rounded[i])]


def encode_problems(pixels: Sequence[float], bins: Sequence[int], sizes: Sequence[int], path: str) -> list[Problem]:
    """Coordinates whose bin is not clamp(round(999·c), 0, 999). `sizes`: the axis of each coordinate, in pixels.

    A coordinate within 1e-6 of a rounding tie may fall on either side.
    """
    if len(bins) != len(pixels):
        return [
            _problem(path, "an encode gives another number of bins than it got coordinates", len(pixels), len(bins))
        ]
    wrong = [i for i, (x, k, s) in enumerate(zip(pixels, bins, sizes, strict=True)) if not _is_bin_of(k, x, s)]
    if not wrong:
        return []
    i = wrong[0]
    message = (
        f"{len(wrong)} of {len(pixels)} coordinates are not encoded as clamp(round(999*c), 0, 999), "
        f"the first is pixel {pixels[i]:g} of {sizes[i]}"
    )
    return [_problem(path, message, encode_pixel(pixels[i], sizes[i]), bins[i])]


def _is_bin_of(k: int, pixel: float, size: int) -> bool:
    exact = LAST_BIN * pixel / extent(size)
    tie = abs(exact - round(exact * 2) / 2) < 1e-6 and round(exact * 2) % 2 == 1
    return k == encode_pixel(pixel, size) or (tie and k in (int(exact), int(exact) + 1))


def _problem(path: str, message: str, expected: Any, actual: Any) -> Problem:
    return Problem("geometry.bins_k999", path, message, expected, actual)
