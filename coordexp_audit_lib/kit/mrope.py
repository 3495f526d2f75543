"""Multimodal rotary positions (mRoPE): the temporal, height and width rows of samples, from their ids and grids.

As `get_rope_index` of `transformers` computes them for Qwen2-VL, Qwen2.5-VL and Qwen3-VL; a test compares all three.
After a video of the first two, text goes on past the video's last frame, as in transformers 4.57 and 5.0; 5.24 goes on
by the video's longer side, so that what follows has positions of its frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from coordexp_audit_lib.kit.profile import FRAMES, SECONDS, TIMESTAMPS, Profile

ROWS = ("temporal", "height", "width")


class Unfit(ValueError):
    """The grids at hand do not fit the tokens, or are not there; the message says which."""


def runs(flags: Any) -> tuple[Any, Any]:
    """First index and length of every run of true entries of a boolean array."""
    import numpy as np

    edges = np.flatnonzero(np.diff(flags.view(np.int8), prepend=0, append=0))
    return edges[::2], edges[1::2] - edges[::2]


def frames(grid: Any, profile: Profile) -> Any:
    """Video grids [n, 3] as they stand in the ids: one row for each unbroken run of video pads.

    With timestamps between its frames (Qwen3-VL) each frame is a run of its own.
    """
    import numpy as np

    if profile.videos != TIMESTAMPS or not len(grid):
        return grid
    each = np.repeat(grid, grid[:, 0], axis=0)
    each[:, 0] = 1
    return each


def vision_runs(
    ids: Any, profile: Profile, images: Any, videos: Any, *, seconds: Any = None, exact: bool = False
) -> list[tuple[int, int, int, int, int, float]]:
    """The runs of image and video pads in order: first token, number of tokens, merged t, h, w, and the step of the
    temporal row from frame to frame.

    Args:
        ids: [L]. images, videos: grids [n, 3] of (t, h, w) in patches, or None. seconds: of each video, between two
            temporal patches; 1 by default. exact: they count as they are, not as whole seconds.

    Raises:
        Unfit: a grid is missing, or its cells are not as many as its pads.
    """
    import numpy as np

    found: list[tuple[int, int, int, int, int, float]] = []
    for pad, what, given in ((profile.image_pad, "image", images), (profile.video_pad, "video", videos)):
        first, sizes = runs(ids == pad) if pad is not None else (np.zeros(0, np.int64),) * 2
        if not first.size:
            continue
        if given is None:
            raise Unfit(f"needs {what}_grid_thw")
        grid = np.asarray(given, dtype=np.int64).reshape(-1, 3)
        grid = frames(grid, profile) if what == "video" else grid
        step = (
            _steps(grid, profile, seconds, exact) if what == "video" else np.full(len(grid), profile.videos != SECONDS)
        )
        merged = grid // np.array([1, profile.merge_size, profile.merge_size])
        n = first.size
        if len(merged) < n or not np.array_equal(merged[:n].prod(axis=1), sizes):
            raise Unfit(f"{what}_grid_thw does not fit the runs of {what} pads")
        found += zip(first.tolist(), sizes.tolist(), *merged[:n].T.tolist(), step[:n].tolist(), strict=True)
    return sorted(found)


def _steps(grid: Any, profile: Profile, seconds: Any, exact: bool) -> Any:
    """How far the temporal row goes from one frame of each video to the next."""
    import numpy as np

    if profile.videos in (FRAMES, TIMESTAMPS):
        return np.ones(len(grid), np.int64)
    if profile.videos != SECONDS:
        raise Unfit("needs the profile: families number a video's frames differently")
    # Whole seconds, as `get_rope_index` of Qwen2.5-VL takes them since transformers 4.50 and Qwen's own code does;
    # transformers before that and verl take them as they are.
    between = np.ones(len(grid)) if seconds is None else np.asarray(seconds, dtype=np.float64).reshape(-1)[: len(grid)]
    if between.size != len(grid):
        raise Unfit("needs second_per_grid_ts of every video")
    return between * profile.tokens_per_second if exact else between.astype(np.int64) * profile.tokens_per_second


def positions(
    ids: Any,
    profile: Profile,
    bounds: Sequence[int] | None = None,
    *,
    images: Any = None,
    videos: Any = None,
    seconds: Any = None,
    exact: bool = False,
) -> Any:
    """The rows of samples one by one, int64 [3, L].

    Text has the same position in all rows. An image that starts at position s has T = s, H = s + row and W = s + column
    on its merged grid; text goes on behind the largest of them. So the largest position of a sample with an image isn't
    its length.

    Args:
        ids: [L]. bounds: first tokens of the samples, then L; by default one sample. images, videos: grids [n, 3] of
            (t, h, w) in patches, of all samples in order. seconds, exact: see `vision_runs`.

    Raises:
        Unfit: there is no grid, or the grids do not fit the runs of pads.
    """
    import numpy as np

    ids = np.asarray(ids)
    made = np.empty((len(ROWS), len(ids)), np.int64)
    seen = vision_runs(ids, profile, images, videos, seconds=seconds, exact=exact)
    count, index = np.arange(len(ids)), 0
    for a, b in pairwise(bounds if bounds is not None else [0, len(ids)]):
        at, token = 0, a
        while index < len(seen) and seen[index][0] < b:
            first, size, t, h, w, step = seen[index]
            if first > token:
                made[:, token:first] = at + count[: first - token]
                at, token = at + first - token, first
            cells = np.indices((t, h, w)).reshape(len(ROWS), -1)
            cells[0] = cells[0] * step
            made[:, token : min(token + size, b)] = (at + cells)[:, : b - token]
            at, token, index = at + max(int((t - 1) * step), h - 1, w - 1) + 1, min(token + size, b), index + 1
        if token < b:
            made[:, token:b] = at + count[: b - token]
    return made
