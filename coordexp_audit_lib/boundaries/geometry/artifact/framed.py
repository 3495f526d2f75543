"""Whether boxes and points of many records lie in their frame beyond doubt, as `predicates.frames` says it of each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, pairwise
from typing import Any

import numpy as np

from coordexp_audit_lib.boundaries.geometry.artifact.how import How
from coordexp_audit_lib.boundaries.geometry.predicates.frames import FRAMES, LARGEST, LIMITS, Fitting, smart_resize

resized = lru_cache(maxsize=4096)(smart_resize)


class Drawn:
    """What is drawn in some records. sizes: width and height of each record's image; empty where none says them.
    of_boxes, of_points: how many there were when a record was over."""

    def __init__(self) -> None:
        self.boxes: list[Sequence[float]] = []
        self.points: list[Sequence[float]] = []
        self.sizes: list[tuple[int, int]] = []
        self.of_boxes: list[int] = []
        self.of_points: list[int] = []

    def close(self, size: tuple[int, int] | None) -> None:
        """A record is over."""
        self.of_boxes.append(len(self.boxes))
        self.of_points.append(len(self.points))
        if size:
            self.sizes.append(size)

    @property
    def coordinates(self) -> int:
        return 4 * len(self.boxes) + 2 * len(self.points)

    @property
    def drawn_in(self) -> int:
        """How many records have boxes or points."""
        ends = [0, *(b + p for b, p in zip(self.of_boxes, self.of_points, strict=True))]
        return sum(a < b for a, b in pairwise(ends))


def are_in_order(drawn: Drawn) -> bool:
    """Whether no number is negative, and boxes have x1 <= x2 and y1 <= y2."""
    boxes, points = _arrays(drawn)
    return bool(
        (boxes >= 0).all()
        and (points >= 0).all()
        and (boxes[:, 0] <= boxes[:, 2]).all()
        and (boxes[:, 1] <= boxes[:, 3]).all()
    )


def fit(drawn: Drawn, frame: str, how: How) -> bool:
    """Whether all of it lies in the frame, and is not drawn in shares instead. That it is in order was looked at."""
    boxes, points = _arrays(drawn)
    return _fit(boxes, points, drawn, frame, how.resize)


def fit_as_before(drawn: Drawn, fitting: Fitting, how: How) -> bool:
    """Where no frame is said: whether every frame that fitted before fits all of it, too."""
    boxes, points = _arrays(drawn)
    for frame in FRAMES:
        if frame in fitting.refuted:
            continue
        resize = how.resize
        if frame not in LIMITS and (not drawn.sizes or (frame == "resized" and not resize[0])):
            if frame not in fitting.unknown or _any_shares(boxes):
                return False
            if not drawn.sizes:
                continue
            resize = LARGEST
        if not _fit(boxes, points, drawn, frame, resize):
            return False
    return True


def lacks_sizes(drawn: Drawn, frame: str) -> bool:
    """Whether the frame is one of pixels and no record says how large its image is."""
    return frame not in LIMITS and not drawn.sizes


def _arrays(drawn: Drawn) -> tuple[Any, Any]:
    boxes = np.fromiter(chain.from_iterable(drawn.boxes), np.float64, 4 * len(drawn.boxes)).reshape(-1, 4)
    points = np.fromiter(chain.from_iterable(drawn.points), np.float64, 2 * len(drawn.points)).reshape(-1, 2)
    return boxes, points


def _any_shares(boxes: Any) -> bool:
    return bool((boxes.max(axis=1, initial=0.0) <= 1).any())


def _fit(boxes: Any, points: Any, drawn: Drawn, frame: str, resize: tuple[int, int, int]) -> bool:
    if frame in LIMITS:
        most = LIMITS[frame]
        inside = bool((boxes <= most).all() and (points <= most).all())
        return inside and (most <= 1 or not _any_shares(boxes))
    if len(drawn.sizes) != len(drawn.of_boxes) or (frame == "resized" and not resize[0]):
        return False
    sizes = [resized(w, h, *resize) for w, h in drawn.sizes] if frame == "resized" else drawn.sizes
    limits = np.array(sizes, np.float64).reshape(-1, 2)
    if limits.min(initial=3.0) <= 2 or _any_shares(boxes):
        return False
    of_boxes = np.repeat(limits, np.diff(drawn.of_boxes, prepend=0), axis=0)
    of_points = np.repeat(limits, np.diff(drawn.of_points, prepend=0), axis=0)
    return bool((boxes[:, 2:] <= of_boxes).all() and (points <= of_points).all())
