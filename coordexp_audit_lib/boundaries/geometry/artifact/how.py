"""What the user says of a data file, and what is looked at besides."""

from __future__ import annotations

import msgspec

from coordexp_audit_lib.boundaries.geometry.predicates.records import Ordering

FACTOR, MIN_PIXELS = 28, 56 * 56  # of Qwen2-VL's and Qwen2.5-VL's resizing, where the run says nothing else


class How(msgspec.Struct, frozen=True):
    """How a file is to be judged.

    ordering: `sorted` also judges the top-left order of records of objects. form: one of `grounding.FORMS`; by default
    that of the first record that shows one. frame: of boxes that do not say theirs, of `frames.FRAMES`.
    images: the folder in which images are looked up, "" that of the file, "none" for not at all. max_pixels,
    min_pixels, multiple_of: what the run resizes images to; 0: not known.
    """

    ordering: Ordering = "random"
    form: str = ""
    frame: str = ""
    images: str = ""
    max_pixels: int = 0
    min_pixels: int = 0
    multiple_of: int = 0

    @property
    def resize(self) -> tuple[int, int, int]:
        """Factor, least and most pixels, as `frames.smart_resize` takes them; zeros where the most is not known."""
        if not self.max_pixels:
            return (0, 0, 0)
        return self.multiple_of or FACTOR, self.min_pixels or MIN_PIXELS, self.max_pixels
