"""Positions of a packed batch: the text row restarts with each segment, and the mRoPE rows are each sample's own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from coordexp_audit_lib.boundaries.packing.contract import IMAGE_PAD, MERGE, Problem, Undecided, need, runs
from coordexp_audit_lib.boundaries.packing.row import MROPE_ROWS, Array, PackedRow

ROWS = ("temporal", "height", "width")


def positions_restart(row: PackedRow) -> Iterator[Problem]:
    """Both halves of the claim. Where the text row is wrong already, the mRoPE rows are left out; where there is none,
    they can still break the claim."""
    missing = None
    try:
        found = list(text_row(row))
    except Undecided as error:
        found, missing = [], error
    yield from found or mrope_rows(row)
    if missing is not None:
        raise missing


def text_row(row: PackedRow) -> Iterator[Problem]:
    """Text positions count 0, 1, 2, … within each segment and restart at 0 in the next."""
    need(row)
    positions = row.text_positions
    if positions is None:
        raise Undecided("needs text_position_ids, or position_ids with a text row")
    steps = np.diff(positions[: row.padding], prepend=-1)
    wrong = np.flatnonzero((steps != 1) & (positions[: row.padding] != 0))
    if wrong.size:
        token = int(wrong[0])
        before = int(positions[token - 1]) if token else -1
        text = "a text position neither continues its segment nor restarts at 0"
        yield Problem(text, token, before + 1, int(positions[token]))
    inner = row.segments[row.segments < positions.size]
    running = inner[positions[inner] != 0]
    if running.size:
        token = int(running[0])
        yield Problem("text positions run on into the next segment", token, 0, int(positions[token]))
    told = [s for name, s in row.starts.items() if name in ("lengths", "cu_seq_lens_q")]
    if told:
        extra = np.setdiff1d(row.starts["text positions"], np.concatenate(told))
        extra = extra[extra < row.padding]
        if extra.size:
            token = int(extra[0])
            yield Problem("text positions restart within a segment", token, int(positions[token - 1]) + 1, 0)


def mrope_rows(row: PackedRow) -> Iterator[Problem]:
    """The temporal, height and width rows equal those computed for each sample alone from its tokens and grids."""
    need(row, "input_ids")
    ids, given = row.flat("input_ids"), row.position_rows
    if ids is None:
        raise Undecided("needs input_ids of the pack's length")
    images = bool((ids == IMAGE_PAD).any())
    if given is None or len(given) not in (1, MROPE_ROWS, MROPE_ROWS + 1):
        if images:
            raise Undecided("needs position_ids with the mRoPE rows")
        return  # text only: all rows are the text row
    end = row.padding
    expected = mrope_alone(ids[:end], row.get("image_grid_thw"), _bounds(row, end))
    if len(given) == 1 and images:
        token = int((ids == IMAGE_PAD).argmax())
        yield Problem("position_ids has one row, so image tokens have no height and width", token, MROPE_ROWS, 1)
        return
    rows = given[-MROPE_ROWS:] if len(given) > 1 else np.repeat(given, MROPE_ROWS, axis=0)
    for name, ours, theirs in zip(ROWS, expected, rows[:, :end], strict=True):
        wrong = np.flatnonzero(ours != theirs)
        if wrong.size:
            token = int(wrong[0])
            text = f"the {name} row of position_ids is not that of the sample alone"
            yield Problem(text, token, int(ours[token]), int(theirs[token]))


def _bounds(row: PackedRow, end: int) -> list[int]:
    """First tokens of the samples, then the end: by `lengths`, else `cu_seq_lens_q`, else the text positions."""
    for name in ("lengths", "cu_seq_lens_q", "text positions"):
        if name in row.starts:
            starts = row.starts[name]
            return [*(int(s) for s in starts if 0 <= s < end), end]
    return [0, end]


def mrope_alone(ids: Array, grid: Array | None, bounds: list[int]) -> Array:
    """The rows [3, L] of samples one by one; `bounds` are their first tokens, then L.

    Text has the same position in all rows. An image that starts at position s has T = s, H = s + row and W = s + column
    on its merged grid; text goes on at s + max(h, w) / 2, with h and w in patches. So the largest mRoPE position of a
    segment with an image isn't its length.

    Raises:
        Undecided: there is no grid, or the grids do not fit the runs of image pads.
    """
    first, sizes = runs(ids == IMAGE_PAD)
    merged = np.zeros((0, 3), np.int64) if grid is None else grid.reshape(-1, 3).astype(np.int64)
    merged = merged // np.array([1, MERGE, MERGE])
    if first.size and grid is None:
        raise Undecided("needs image_grid_thw")
    if len(merged) < first.size or not np.array_equal(merged[: first.size].prod(axis=1), sizes):
        raise Undecided("image_grid_thw does not fit the runs of image pads")
    made = np.zeros((MROPE_ROWS, len(ids)), np.int64)
    image = 0
    for a, b in pairwise(bounds):
        at, token = 0, a
        while token < b:
            stop = min(int(first[image]) if image < first.size else b, b)
            made[:, token:stop] = at + np.arange(max(stop - token, 0))
            at, token = at + max(stop - token, 0), max(stop, token)
            if token < b:
                size = merged[image]
                cells = np.indices(size).reshape(MROPE_ROWS, -1)[:, : b - token]
                made[:, token : token + cells.shape[1]] = at + cells
                at, token, image = at + int(size.max()), token + cells.shape[1], image + 1
    return made
