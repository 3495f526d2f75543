"""Whether encoders and decoders of the 1000 bins give what `kit.boxes` says.

Sequences run in parallel: `bins` ints in 0..999, coordinates in [0, 1], pixels along an axis of `size` pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.boxes import LAST_BIN, decode, encode_pixel, extent

EXACT = 1e-12
SINGLE = 1e-6
"""Tolerances: of float64 arithmetic, and of a float32 expectation over 1000 bins."""


def named(problem: Problem, subject: str, counterexample: Any = None, where: Where | None = None) -> Problem:
    """A problem with what was judged before its message and subject; `where`: if it was not the surface asked last."""
    told = {"message": f"{subject}: {problem.message}", "subject": f"{subject} {problem.subject}".strip()}
    return msgspec.structs.replace(problem, **told, counterexample=counterexample, where=where)


def decode_problems(normalized: Sequence[float], bins: Sequence[int], tolerance: float, path: str) -> list[Problem]:
    """Bins whose decoded coordinate is not k/999 within `tolerance`."""
    if len(normalized) != len(bins):
        return [Problem("a decode gives another number of values than it got", path, len(bins), len(normalized))]
    wrong = [(k, c) for k, c in zip(bins, normalized, strict=True) if not abs(c - decode(k)) <= tolerance]
    if not wrong:
        return []
    k, c = wrong[0]
    note = " (this is k/1000)" if abs(c - k / 1000) <= tolerance else ""
    message = f"{len(wrong)} of {len(bins)} bins do not decode to k/999, the first is bin {k}{note}"
    return [Problem(message, path, decode(k), c)]


def pixel_problems(pixels: Sequence[float], bins: Sequence[int], size: int, path: str) -> list[Problem]:
    """Bins whose exact pixel position is not k/999 of the axis; the axis may end at `size` or at `size` - 1."""
    if len(pixels) != len(bins):
        return [Problem("a decode gives another number of pixels than it got bins", path, len(bins), len(pixels))]
    at = dict(zip(bins, pixels, strict=True))
    ends = (at.get(0, 0.0), at.get(LAST_BIN, extent(size)))
    if ends[0] != 0.0 or ends[1] not in (extent(size), float(size)):
        return [Problem("the first and last bin are not the image's ends", path, [0.0, extent(size)], list(ends))]
    return decode_problems([p / ends[1] for p in pixels], bins, 1e-9, path)


def rounded_problems(rounded: Sequence[int], exact: Sequence[float], size: int, path: str) -> list[Problem]:
    """Integer pixels further than half a pixel from the exact position, or outside the image."""
    if len(rounded) != len(exact):
        return [Problem("a decode rounds another number of pixels than it gives", path, len(exact), len(rounded))]
    pairs = enumerate(zip(rounded, exact, strict=True))
    wrong = [i for i, (r, x) in pairs if abs(r - min(x, size - 1)) > 0.5 + 1e-9 or not 0 <= r < size]
    message = f"{len(wrong)} of {len(exact)} positions are more than half a pixel off or outside the image"
    return [Problem(message, path, exact[i], rounded[i]) for i in wrong[:1]]


def encode_problems(pixels: Sequence[float], bins: Sequence[int], sizes: Sequence[int], path: str) -> list[Problem]:
    """Coordinates whose bin is not clamp(round(999·c), 0, 999). `sizes`: the axis of each coordinate, in pixels.

    A coordinate within 1e-6 of a rounding tie may fall on either side.
    """
    if len(bins) != len(pixels):
        return [Problem("an encode gives another number of bins than it got coordinates", path, len(pixels), len(bins))]
    wrong = [i for i, (x, k, s) in enumerate(zip(pixels, bins, sizes, strict=True)) if not _is_bin_of(k, x, s)]
    what = "coordinates are not encoded as clamp(round(999*c), 0, 999), the first is pixel"
    message = f"{len(wrong)} of {len(pixels)} {what}"
    return [
        Problem(f"{message} {pixels[i]:g} of {sizes[i]}", path, encode_pixel(pixels[i], sizes[i]), bins[i])
        for i in wrong[:1]
    ]


def _is_bin_of(k: int, pixel: float, size: int) -> bool:
    exact = LAST_BIN * pixel / extent(size)
    tie = abs(exact - round(exact * 2) / 2) < 1e-6 and round(exact * 2) % 2 == 1
    return k == encode_pixel(pixel, size) or (tie and k in (int(exact), int(exact) + 1))
