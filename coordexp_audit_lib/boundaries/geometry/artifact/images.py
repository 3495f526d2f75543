"""The image files that records name: their headers, read lazily and within bounds, never their pixels."""

from __future__ import annotations

import stat
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coordexp_audit_lib.boundaries.geometry.predicates.pictured import Measured, Pictured

TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
EXIF_ORIENTATION = 0x0112
MANY = 64  # images of one record that are looked at


class Images:
    """The images below a folder. known: whether one was found so far."""

    def __init__(self, root: Path) -> None:
        self.root, self.known = root, False

    def of(self, value: Any, form: str) -> Pictured | None:
        """The images of a record, measured; None where it names none as a local path."""
        names = _names(value, form)
        if not names:
            return None
        found = tuple(self.measured(name) for name in names[:MANY])
        self.known = self.known or any(m.size for m in found)
        return Pictured(found, _stated(value) if len(names) == 1 else None)

    def measured(self, name: str) -> Measured:
        """What the header of an image says."""
        from PIL import Image

        path = self.root / name.removeprefix("file://")
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                return Measured(name, why="is no regular file")
            with warnings.catch_warnings(), Image.open(path) as image:
                warnings.simplefilter("ignore")
                turned = image.getexif().get(EXIF_ORIENTATION) in TURNED if image.format in ("JPEG", "TIFF") else False
                return Measured(name, image.size, turned=turned)
        except FileNotFoundError:
            return Measured(name, why="is missing")
        except Exception as error:  # whatever a decoder makes of a damaged header
            return Measured(name, why=f"can't be read: {type(error).__name__}")


def _names(value: Any, form: str) -> list[str]:
    """The local paths that a record names as its images."""
    if not isinstance(value, Mapping):
        return []
    given = value.get("file_name") if form == "coco" else value.get("images", value.get("image"))
    listed = given if isinstance(given, list) else [given]
    named = [(i.get("path") if isinstance(i, Mapping) else i) for i in listed]
    local = [n for n in named if isinstance(n, str) and n.strip() and "\0" not in n and not n.startswith("data:")]
    return [n for n in local if "://" not in n or n.startswith("file://")]


def _stated(value: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = value.get("width"), value.get("height")
    whole = all(isinstance(s, int) and not isinstance(s, bool) for s in (width, height))
    return (int(str(width)), int(str(height))) if whole else None
