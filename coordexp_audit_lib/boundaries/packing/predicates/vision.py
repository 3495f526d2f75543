"""Images and videos of a packed batch: pads, grids and pixel rows follow the samples' order and add up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from coordexp_audit_lib.boundaries.packing.artifact import Array, PackedRow
from coordexp_audit_lib.boundaries.packing.predicates.batch import at_first, flawed, lacking, tokens_of
from coordexp_audit_lib.boundaries.packing.predicates.rows import over_all_rows
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.finding import Severity
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit import mrope

ROUNDED, TINY = 2.0**-7, 2.0**-14  # of bfloat16 and float16, with a little room
KINDS = {"image": ("image_grid_thw", "pixel_values"), "video": ("video_grid_thw", "pixel_values_videos")}


@over_all_rows
def vision_in_order(row: PackedRow, ledger: Ledger) -> Iterator[Problem]:
    """Each run of pads is as long as its merged grid; grids and pixel rows add up and keep the samples' order. Counts
    images and videos; of a batch without any it says nothing."""
    yield from flawed(row, ledger, *(n for names in KINDS.values() for n in names))
    ids = tokens_of(row)
    for what, pad in (("image", row.profile.image_pad), ("video", row.profile.video_pad)):
        yield from _kind(row, ids, what, pad, ledger)
    yield from _types_fit(row, ids, ledger)
    if row.pictured:
        yield from _of_samples(row, ledger)
    elif any(grid in row.tensors for grid, _ in KINDS.values()):
        ledger.left_out("the order of pixel rows", "needs the samples")


def _kind(row: PackedRow, ids: Array, what: str, pad: int | None, ledger: Ledger) -> Iterator[Problem]:
    """One kind, images or videos: its runs of pads against its grids, and these against its pixel rows."""
    grid_name, pixel_name = KINDS[what]
    grid, pixels = row.get(grid_name), row.get(pixel_name)
    if pad is None and (grid is not None or pixels is not None):
        raise lacking(row, f"needs the profile: {grid_name} is there and no {what} token that is known")
    first, sizes = mrope.runs(ids == pad) if pad is not None else (np.zeros(0, np.int64),) * 2
    if grid is None and not (row.pictured and what == "image"):
        yield from _without_grid(row, what, first, ledger)
        return
    grid = np.zeros((0, 3), np.int64) if grid is None else grid.reshape(-1, 3)
    ledger.judged(max(len(grid), int(first.size)) if what == "image" else len(grid))
    # Of a family that is not known a video's frames are one run: where each is its own, the batch shows the family.
    yield from _runs_fit(what, first, sizes, mrope.frames(grid, row.profile) if what == "video" else grid, row)
    spilled = [int(s) for s in row.segments if s and ids[s] == pad and ids[s - 1] == pad]
    if spilled:
        article = {"image": "an", "video": "a"}[what]
        yield Problem(f"{article} {what}'s pads run over a segment boundary", token=spilled[0])
    patches = int(grid.prod(axis=1).sum())
    have = 0 if pixels is None else len(pixels)
    told = (
        bool(row.pictured) and not row.places
    )  # of a file pixels may have been left out, of what a model is given not
    if pixels is None and not told and patches and _is_all(row, what):
        text = f"there are pads and grids of {len(grid)} {what}s, and no {pixel_name}"
        yield Problem(text, expected=patches, actual=0, token=int(first[0]) if first.size else None)
    elif pixels is None and not told:
        ledger.left_out(f"pixel rows of {what}s", f"needs {pixel_name}")
    elif have != patches:
        yield Problem(f"pixel rows and grids of {what}s do not add up", expected=patches, actual=have)


def _types_fit(row: PackedRow, ids: Array, ledger: Ledger) -> Iterator[Problem]:
    """`mm_token_type_ids`, of which newer models make the mRoPE rows, mark the pads and nothing else."""
    types, profile = row.flat("mm_token_type_ids"), row.profile
    if types is None or not profile.has_vision:
        return
    pads = (ids == profile.image_pad) | (ids == profile.video_pad)
    ledger.judged(int(pads.any()))
    text = "mm_token_type_ids mark another token than a pad of an image or a video, or leave one out"
    yield from at_first((types != 0) != pads, text, pads.astype(int), types)


def _without_grid(row: PackedRow, what: str, first: Array, ledger: Ledger) -> Iterator[Problem]:
    """Pads or pixel rows without a grid. With neither grid nor pixels they may have been left out of a file."""
    grid_name, pixel_name = KINDS[what]
    pixels = row.get(pixel_name)
    if grid_name in row.flaws:
        raise lacking(row, f"needs {grid_name}")
    if pixels is not None:
        ledger.judged(int(first.size))
        text = f"there are pixel rows of {what}s, and no {grid_name}"
        yield Problem(text, expected=f"{first.size} grids", actual=0, token=int(first[0]) if first.size else None)
    elif first.size:
        ledger.judged(int(first.size))
        text = f"there are pads of {first.size} {what}s, and neither {grid_name} nor {pixel_name}"
        more = "" if _is_all(row, what) else ": where the file holds all that the model is given, it reads them as text"
        severity: Severity | None = None if _is_all(row, what) else "P2"
        yield Problem(f"{text}{more}", expected=grid_name, token=int(first[0]), severity=severity)


def _is_all(row: PackedRow, what: str) -> bool:
    """Whether what is not there was not left out: it is said so, or the other kind's pixels are there."""
    other = KINDS["video" if what == "image" else "image"][1]
    return row.whole or other in row.tensors


def _runs_fit(what: str, first: Array, sizes: Array, grid: Array, row: PackedRow) -> Iterator[Problem]:
    merged = grid.prod(axis=1) // row.profile.merge_size**2
    if len(grid) != first.size:
        text = f"the number of {what}s is not the number of runs of {what} pads"
        odd = _odd_run(merged.tolist(), sizes.tolist())
        yield Problem(text, expected=int(first.size), actual=len(grid), token=int(first[odd]) if first.size else None)
        return
    wrong = np.flatnonzero(merged != sizes)
    if wrong.size:
        i = int(wrong[0])
        text = f"{what} {i} has another number of pads than its merged grid has cells"
        yield Problem(text, expected=int(merged[i]), actual=int(sizes[i]), token=int(first[i]))


def _odd_run(merged: list[int], sizes: list[int]) -> int:
    """The run of pads that spoils the count: of more runs than images the first that fits none, of fewer the first
    that does not fit the image in its turn, else the last."""
    image = 0
    for run, size in enumerate(sizes):
        if image < len(merged) and merged[image] == size:
            image += 1
        elif len(sizes) > len(merged) or image < len(merged):
            return run
    return max(len(sizes) - 1, 0)


def _of_samples(row: PackedRow, ledger: Ledger) -> Iterator[Problem]:
    """Grids and pixel rows are the samples' own, one after the other."""
    yield from _one_after_another("image", [(s.grid, s.pixel_rows) for s in row.pictured], row, ledger)
    if all(s.video_grid is not None for s in row.samples):
        yield from _one_after_another("video", [(s.video_grid, s.video_rows) for s in row.samples], row, ledger)
    elif "video_grid_thw" in row.tensors:
        ledger.left_out("the order of videos", "the samples at hand tell images only")


def _one_after_another(what: str, own: Sequence[tuple[Any, Any]], row: PackedRow, ledger: Ledger) -> Iterator[Problem]:
    """One kind, of samples with these grids and pixel rows."""
    grid_name, pixel_name = KINDS[what]
    grid, pixels = row.get(grid_name), row.get(pixel_name)
    grid = np.zeros((0, 3), np.int64) if grid is None else grid.reshape(-1, 3)
    if idle := _in_padding(row, what):
        grid, rows_of_idle = grid[:-idle], int(grid[-idle:].prod(axis=1).sum())
        pixels = None if pixels is None else pixels[: max(len(pixels) - rows_of_idle, 0)]
    grids = np.concatenate([np.asarray(g, dtype=np.int64).reshape(-1, 3) for g, _ in own])
    if not np.array_equal(grids, grid):
        yield Problem(f"{grid_name} is not the samples' own in order", expected=grids.tolist(), actual=grid.tolist())
        return
    if any(rows is None for _, rows in own):
        ledger.left_out("the order of pixel rows", "needs the samples' own")
        return
    if pixels is None and row.places:
        return  # of a file, which is said
    parts = [a for a in (np.asarray(rows) for _, rows in own) if len(a)]
    total, have = sum(map(len, parts)), 0 if pixels is None else len(pixels)
    if total != have and pixel_name not in row.flaws:
        yield Problem(f"{pixel_name} has another number of rows than the samples together", expected=total, actual=have)
        return
    if pixels is None or not have:
        return  # none of them: their number was compared above
    if any(a.shape[1:] != pixels.shape[1:] for a in parts):
        ledger.left_out("the order of pixel rows", "the samples' rows have another shape than the batch's")
        return
    rows = np.concatenate(parts)
    differs = np.flatnonzero(_other(pixels, rows).reshape(len(rows), -1).any(axis=1))
    if differs.size:
        at = int(differs[0])
        number = sum(at >= end for end in accumulate(grids.prod(axis=1).tolist()))
        text = f"pixel row {at} is not that of {what} {number}: rows do not follow the samples' order"
        yield Problem(text, expected=str(rows[at]), actual=str(pixels[at]))


def _in_padding(row: PackedRow, what: str) -> int:
    """How many of the last images stand whole behind the samples, where nothing is supervised: they are no sample's,
    and are there so that every rank runs the vision tower."""
    ids, pad = row.flat("input_ids"), row.profile.image_pad if what == "image" else row.profile.video_pad
    lengths, labels, end = row.get("lengths"), row.labels, None
    if lengths is not None:
        end = int(lengths.sum())
    elif row.places:
        end = row.places[-1][1] + len(row.samples[-1].input_ids)
    if ids is None or pad is None or end is None or row.rows != 1:
        return 0
    if labels is not None and (labels[end:] != row.profile.ignore_index).any():
        return 0
    return int((mrope.runs(ids == pad)[0] >= end).sum())


def _other(a: Array, b: Array) -> Array:
    """Where pixels differ by more than half precision rounds."""
    if "f" not in (a.dtype.kind, b.dtype.kind) or a.dtype == b.dtype:
        return np.asarray(a != b)
    return np.asarray(np.abs(a - b) > ROUNDED * np.abs(b) + TINY)
