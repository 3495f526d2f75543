"""Whether the images that a record names are there, and of the size that it states."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem


class Measured(msgspec.Struct, frozen=True):
    """An image file: its name in the record, and its header's width and height, or why there are none.

    turned: whether a viewer that follows its EXIF orientation shows it with the sides exchanged.
    """

    name: str
    size: tuple[int, int] | None = None
    why: str = ""
    turned: bool = False


class Pictured(msgspec.Struct, frozen=True):
    """A record's images as files. stated: the width and height that the record states of its one image, if it does."""

    images: tuple[Measured, ...]
    stated: tuple[int, int] | None = None


def size_matches_file(pictured: Pictured, ledger: Ledger) -> Iterator[Problem]:
    """Each image is there and can be read; the stated size is its own. Judged: images."""
    for i, image in enumerate(pictured.images):
        ledger.judged()
        if image.size is None:
            yield Problem(f"the image {image.why}", f"images[{i}]", "an image file", image.name)
        elif pictured.stated is not None and pictured.stated != image.size:
            note = " (it is its size once it is turned as its EXIF orientation says)" if _is_turned(pictured) else ""
            stated, found = list(pictured.stated), list(image.size)
            yield Problem(f"the stated size is not the image file's{note}", f"images[{i}]", found, stated)


def _is_turned(pictured: Pictured) -> bool:
    image = pictured.images[0]
    return image.turned and image.size is not None and pictured.stated == image.size[::-1]
