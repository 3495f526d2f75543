"""In what frame the boxes of a conversation or an annotated image are: pixels of the image, of the image as it is
resized for the model, or shares of it; and whether they keep to it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from coordexp_audit_lib.boundaries.geometry.predicates.grounding import BOX, Box, Talk, is_number
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.boxes import is_ordered

FRAMES = ("real", "resized", "norm1", "norm1000")
LIMITS: dict[str, float] = {"norm1": 1.0, "norm1000": 1000.0}
LARGEST = (28, 56 * 56, 16_384 * 28 * 28)  # factor, least and most pixels of any run with Qwen's processors
NO_SIZE = "needs the image's size"
SLACK = 0.5  # of a pixel: annotations with fractions end there
TITLES = {
    "real": "pixels of the image",
    "resized": "pixels of the resized image",
    "norm1": "shares of the image, 0 to 1",
    "norm1000": "thousandths of the image",
}


def smart_resize(width: int, height: int, factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """Width and height to which Qwen's image processors resize: multiples of `factor` with pixels in these bounds.

    As transformers' `image_processing_qwen2_vl.smart_resize` computes them; there the height comes first.
    """
    wide, high = (max(factor, round(side / factor) * factor) for side in (width, height))
    if wide * high > max_pixels:
        by = math.sqrt(height * width / max_pixels)
        wide, high = (max(factor, math.floor(side / by / factor) * factor) for side in (width, height))
    elif wide * high < min_pixels:
        by = math.sqrt(min_pixels / (height * width))
        wide, high = (math.ceil(side * by / factor) * factor for side in (width, height))
    return wide, high


def sizes_of(talk: Talk) -> Sequence[Sequence[int]]:
    """Width and height of each image: of its file where that was looked at, else as the record states them."""
    if talk.sizes:
        return talk.sizes
    objects = talk.value.get("objects")
    for at in (objects if isinstance(objects, Mapping) else {}, talk.value):
        wide, high = at.get("width"), at.get("height")
        if isinstance(wide, list) and isinstance(high, list) and wide and len(wide) == len(high):
            found = list(zip(wide, high, strict=True))
        else:
            found = [(wide, high)]
        if all(isinstance(s, int) and not isinstance(s, bool) and s > 0 for pair in found for s in pair):
            return found
    return ()


def limits(talk: Talk, box: Box, frame: str) -> tuple[float, float] | str:
    """How far x and y may go; or why that is not known."""
    if frame in LIMITS or frame not in FRAMES:
        return (LIMITS[frame], LIMITS[frame]) if frame in LIMITS else "needs the frame (--frame)"
    sizes = sizes_of(talk)
    if not sizes:
        return NO_SIZE
    if box.image is None and len({tuple(s) for s in sizes}) > 1:
        return "there are several images"
    if (box.image or 0) >= len(sizes):
        return "the size of its image is not known"
    width, height = sizes[box.image or 0]
    if frame == "resized":
        if not talk.resize[0]:
            return "needs --max-pixels and --multiple-of of the run"
        width, height = smart_resize(width, height, *talk.resize)
    return float(width), float(height)


def fits(box: Box, most: tuple[float, float]) -> bool:
    """Whether all coordinates lie within."""
    return all(_is_within(v, most[i % 2]) for i, v in enumerate(box.values))


def _is_within(value: float, most: float) -> bool:
    """Pixels and thousandths may end a little outside, as annotations with fractions do."""
    slack = SLACK if most > 1 and value != int(value) else 0.0
    return -slack <= value <= most + slack


def in_frame(talk: Talk, ledger: Ledger) -> Iterator[Problem]:
    """Coordinates lie in their frame. Judged: coordinates."""
    if not talk.is_one:
        ledger.left_out("boxes", "the record is of another form")
        return
    for box in talk.boxes:
        if not all(map(is_number, box.values)):
            ledger.left_out(box.path, "it holds what is no number")
            continue
        most = limits(talk, box, box.frame)
        if isinstance(most, str):
            ledger.left_out("coordinates", most)
            return
        ledger.judged(len(box.values))
        if not fits(box, most):
            yield _outside(talk, box, most)
        elif box.frame != "norm1" and min(most) > 2 and _are_shares(box.values):
            what = f"all coordinates lie between 0 and 1, which are no {TITLES[box.frame]}"
            yield Problem(what, box.path, TITLES[box.frame], box.values)


def _are_shares(values: Sequence[float]) -> bool:
    return len(values) >= BOX and max(values) <= 1 and any(v != int(v) for v in values)


def _outside(talk: Talk, box: Box, most: tuple[float, float]) -> Problem:
    i = next(i for i, v in enumerate(box.values) if not _is_within(v, most[i % 2]))
    others = [f for f in FRAMES if f != box.frame and not isinstance(m := limits(talk, box, f), str) and fits(box, m)]
    hint = f"; it would fit {' or '.join(TITLES[f] for f in others)}" if others else ""
    message = f"a coordinate lies outside its frame{hint}"
    return Problem(message, f"{box.path}[{i}]", f"0 to {most[i % 2]:g} ({box.frame})", box.values[i])


def ordered(talk: Talk, ledger: Ledger) -> Iterator[Problem]:
    """Boxes have x1 <= x2 and y1 <= y2. Judged: boxes of four coordinates."""
    if not talk.is_one:
        ledger.left_out("boxes", "the record is of another form")
        return
    for box in talk.boxes:
        if len(box.values) != BOX or not all(map(is_number, box.values)):
            continue
        ledger.judged()
        if not is_ordered(box.values):
            yield Problem("a box has x1 <= x2 and y1 <= y2", box.path, "x1 <= x2, y1 <= y2", box.values)


def _largest(talk: Talk) -> Talk:
    """The record as a run would see it that resizes to the most that Qwen's processors do: no run sees it larger."""
    return Talk(talk.value, talk.form, talk.frame, talk.sizes, LARGEST)


class Fitting:
    """Which frames all boxes of a file fit, where neither the records nor the user say one.

    refuted: for each frame that does not fit, the first line of which it does not. unknown: whether a frame of pixels
    could not be compared for want of sizes. boxes, coordinates: how many were looked at.
    """

    def __init__(self) -> None:
        self.refuted: dict[str, int] = {}
        self.unknown: dict[str, str] = {}
        self.coordinates = 0

    def see(self, talk: Talk, number: int) -> None:
        """Compare a record's boxes with each frame."""
        for box in talk.boxes:
            if not box.values or not all(map(is_number, box.values)):
                continue
            self.coordinates += len(box.values)
            for frame in FRAMES:
                if frame in self.refuted:
                    continue
                most = limits(talk, box, frame)
                if isinstance(most, str):
                    self.unknown.setdefault(frame, most)
                    wide = limits(_largest(talk), box, frame) if frame == "resized" else most
                    if _are_shares(box.values) or not (isinstance(wide, str) or fits(box, wide)):
                        self.refuted[frame] = number
                elif not fits(box, most) or (frame != "norm1" and min(most) > 2 and _are_shares(box.values)):
                    self.refuted[frame] = number

    def take_in(self, other: Fitting, lines: int) -> None:
        """Add what was seen in the lines after the first `lines`."""
        self.coordinates += other.coordinates
        for frame, number in other.refuted.items():
            self.refuted.setdefault(frame, number + lines)
        for frame, why in other.unknown.items():
            self.unknown.setdefault(frame, why)

    @property
    def left(self) -> list[str]:
        """The frames that are not refuted, those first that were compared."""
        known = [f for f in FRAMES if f not in self.refuted and f not in self.unknown]
        return known + [f for f in FRAMES if f not in self.refuted and f in self.unknown]

    def verdict(self, ledger: Ledger) -> Iterator[Problem]:
        """No frame that fits is a violation, one is held, several are not decided."""
        left = self.left
        if not self.coordinates:
            return
        if not left:
            lines = {TITLES[f]: n for f, n in sorted(self.refuted.items())}
            what = "no one frame fits all boxes of the file: frames are mixed, or boxes are wrong"
            yield Problem(what, "bbox_2d", "one frame", "none", {"first line that is none": lines})
            ledger.judged(self.coordinates)
        elif len(left) == 1 and left[0] not in self.unknown:
            ledger.judged(self.coordinates)
        elif len(left) == 1:
            ledger.left_out("coordinates", f"only {TITLES[left[0]]} can be meant, but {self.unknown[left[0]]}")
        else:
            ledger.left_out("coordinates", f"needs the frame (--frame): {', '.join(left)} would do")
