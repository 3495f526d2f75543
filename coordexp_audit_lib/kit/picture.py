"""Generated images whose every patch tells which image it belongs to. Standard library only at import time."""

from __future__ import annotations

import os
from typing import Any

from coordexp_audit_lib.kit import profile

PATCH, MERGE, FRAMES = profile.PATCH, profile.MERGE, profile.TEMPORAL_PATCH
MULTIPLE = PATCH * MERGE  # of pixels: what both sides of a picture must be for it not to be resized


def pixels(number: int, width: int, height: int) -> Any:
    """uint8 [height, width, 3]: values depend on `number` and place, so that no two patches or pictures look alike."""
    import numpy as np

    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    channels = [
        (x * (5 + 2 * c) + y * (11 + 4 * c) + x * y * (number + 1) + 37 * number + 17 * c) % 251 for c in range(3)
    ]
    return np.stack(channels, axis=-1).astype(np.uint8)


def image(number: int, width: int, height: int) -> Any:
    """The same as a PIL image."""
    from PIL import Image

    return Image.fromarray(pixels(number, width, height))


def written(path: str, width: int, height: int, number: int | None = None) -> str:
    """`path`, at which a picture of that number stands then, or a plain grey one."""
    from PIL import Image

    os.makedirs(os.path.dirname(path), exist_ok=True)
    (Image.new("RGB", (width, height), (90, 90, 90)) if number is None else image(number, width, height)).save(path)
    return path


def patches(image: Any) -> tuple[list[int], Any]:
    """Grid (t, h, w) in patches and the rows [t·h·w, 1536] that Qwen's image processor makes of a still image.

    Rows run over 2 x 2 blocks of patches, then within the block; a row is channel, frame (twice the same), y, x.
    Both sides must be multiples of 32. Values stay uint8: the processor's (v / 255 − 0.5) / 0.5 is left out.
    """
    import numpy as np

    height, width, _ = image.shape
    if height % MULTIPLE or width % MULTIPLE:
        raise ValueError(f"{width} x {height} pixels: both must be multiples of {MULTIPLE}")
    h, w = height // PATCH, width // PATCH
    blocks = image.reshape(h // MERGE, MERGE, PATCH, w // MERGE, MERGE, PATCH, 3)
    rows = blocks.transpose(0, 3, 1, 4, 6, 2, 5).reshape(h * w, 3, 1, PATCH, PATCH)
    return [1, h, w], np.repeat(rows, FRAMES, axis=2).reshape(h * w, -1)


def digests(pixel_values: Any, images: Any) -> list[str]:
    """`row_digests` of a tensor [patches, width], with the normalisation of the image processor `images` undone."""
    width = pixel_values.shape[-1] // len(images.image_mean)
    mean, deviation = ([v for v in values for _ in range(width)] for values in (images.image_mean, images.image_std))
    rows = ((pixel_values.double() * pixel_values.new_tensor(deviation) + pixel_values.new_tensor(mean)) * 255).round()
    return row_digests(rows.clamp(0, 255).to("cpu").int())


def row_digests(rows: Any) -> list[str]:
    """The first 8 hex digits of each uint8 row's sha256."""
    import hashlib

    return [hashlib.sha256(bytes(row)).hexdigest()[:8] for row in rows.tolist()]
