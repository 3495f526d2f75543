"""What a collator is given, as the samples that its batch must hold.

They are read before the collator runs, for some collators change their features. A feature that is no mapping with
`input_ids` tells nothing, and then the batch is judged by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from coordexp_audit_lib.boundaries.packing.artifact import Array, Unpacked
from coordexp_audit_lib.boundaries.packing.predicates.samples import found
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.guards.memory import arrays, columns

GRID, PIXELS = "image_grid_thw", "pixel_values"
# Marks of tokens that are not supervised: a collator makes labels of them, so that a feature's labels are not the last
# word.
MASKS = ("completion_mask", "assistant_masks", "assistant_mask", "loss_mask", "prompt_mask", "special_tokens_mask")
LENGTHS = ("seq_lengths", "lengths")  # of a feature that is a pack already
COLUMNS = 4  # of each pixel row that are compared


class Feature(msgspec.Struct, frozen=True):
    """One sample: ids and labels [n], grid [images, 3], pixels [rows, …] of any framework. But for the ids, None where
    it is not known."""

    ids: Array
    labels: Array | None
    grid: Array | None
    pixels: Any


def read_features(rows: Any) -> list[Feature]:
    """The samples that a collator is given, in order; none where one of them can't be read."""
    made: list[Feature] = []
    for row in _flat(rows):
        read = list(_read(row)) if isinstance(row, Mapping) else []
        if not read:
            return []
        made += read
    return made


def _flat(rows: Any) -> Iterator[Any]:
    """The features themselves, where packs of them are given."""
    for row in rows if isinstance(rows, (list, tuple)) else [None]:
        yield from row if isinstance(row, (list, tuple)) and row else [row]


def _read(row: Mapping[str, Any]) -> Iterator[Feature]:
    ids = _numbers(row, "input_ids")
    if ids is None:
        return
    labels = _numbers(row, "labels") if not any(row.get(m) is not None for m in MASKS) else None
    labels = labels if labels is not None and labels.size == ids.size else None
    grid = _grid(row)
    ends = _ends(row, ids.size)
    if len(ends) > 2 and grid is not None and len(grid):
        grid = None  # whose pictures these are, nothing tells
    for start, end in pairwise(ends):
        own = labels[start:end] if labels is not None else None
        yield Feature(ids[start:end], own, grid, row.get(PIXELS) if grid is not None else None)


def _grid(row: Mapping[str, Any]) -> Array | None:
    """The grids of a sample's pictures; empty where it has none, None where nothing tells."""
    if row.get(GRID) is None:
        return None if row.get(PIXELS) is not None else np.zeros((0, 3), np.int64)
    try:
        grid = np.asarray(arrays({GRID: row[GRID]})[GRID])
    except (ValueError, UsageError):
        return None
    return grid.reshape(-1, 3).astype(np.int64) if grid.dtype.kind in "iu" and grid.size % 3 == 0 else None


def _numbers(row: Mapping[str, Any], name: str) -> Array | None:
    """A row of whole numbers [n]; None where there is none."""
    if row.get(name) is None:
        return None
    try:
        made = np.asarray(arrays({name: row[name]})[name])
    except (ValueError, UsageError):  # of several lengths, or sparse
        return None
    if made.ndim == 2 and len(made) == 1:
        made = made[0]
    return np.array(made) if made.ndim == 1 and made.size and made.dtype.kind in "iu" else None


def _ends(row: Mapping[str, Any], total: int) -> list[int]:
    """Where the samples of a feature begin, and where the last one ends: a packed data set tells it."""
    for name in LENGTHS:
        told = row.get(name)
        if isinstance(told, (list, tuple)) and all(isinstance(n, int) and n > 0 for n in told) and sum(told) == total:
            return [0, *np.cumsum(told).tolist()]
    positions = _numbers(row, "position_ids")
    if positions is not None and positions.size == total and positions[0] == 0:
        return [*np.flatnonzero(positions == 0).tolist(), total]
    return [0, total]


class Compared(msgspec.Struct, frozen=True):
    """A batch's samples, in the order in which they stand there; their lengths, if all are there one after the other;
    and the columns of the batch's pixel rows that are compared with theirs. strangers: none of them stands there."""

    samples: Sequence[Unpacked] = ()
    lengths: Array | None = None
    pixels: Array | None = None
    strangers: bool = False


NOTHING, STRANGERS = Compared(), Compared(strangers=True)


def compared(batch: Mapping[str, Any], given: Mapping[str, Any], features: Sequence[Feature]) -> Compared:
    """The features as samples of a batch.

    Args:
        batch: as it was collated. given: what `memory.arrays` read of it.

    Where a sample is missing, they keep the order of the features. Where the collator adds to the tokens of each, or
    changes some at random, as masked language models want it, nothing can be compared.
    """
    ids, mask = (_sequence(given.get(n)) for n in ("input_ids", "attention_mask"))
    if not features or ids is None or ids.size == 0 or _masked(ids, given, features):
        return NOTHING
    if ids.ndim == 2 and len(ids) > 1:
        return Compared([Unpacked(f.ids, None, None, None) for f in features])
    ids = ids.reshape(-1)
    end = _end(ids, mask)
    there = found(ids[:end], [f.ids for f in features])
    if not any(there.counts):
        return STRANGERS
    if not there.once:
        return Compared([Unpacked(f.ids, None, None, None) for f in features])
    last = max(at + features[n].ids.size for n, at in there.order)
    if (there.rest < last).any() or len(set(ids[last:].tolist())) > 1:
        return NOTHING
    chosen = [features[n] for n, _ in there.order]
    mine, theirs = _pixels(batch, chosen) or (None, [None] * len(chosen))
    grids = [f.grid if _pictured(batch, chosen) else None for f in chosen]
    parts = zip((f.ids for f in chosen), _labels(given, chosen), grids, theirs, strict=True)
    return Compared([Unpacked(*part) for part in parts], np.array([f.ids.size for f in chosen], dtype=np.int64), mine)


def _masked(ids: Array, given: Mapping[str, Any], features: Sequence[Feature]) -> bool:
    """Whether the labels tell what stood where tokens were changed: with them more samples are whole than without."""
    labels = _sequence(given.get("labels"))
    if labels is None or labels.shape != ids.shape or not ((labels >= 0) & (labels != ids)).any():
        return False
    own = [f.ids for f in features]
    whole = found(ids.reshape(-1), own).seen
    return whole < len(own) and found(np.where(labels >= 0, labels, ids).reshape(-1), own).seen > whole


def _sequence(value: Any) -> Array | None:
    return np.asarray(value) if value is not None and np.asarray(value).ndim in (1, 2) else None


def _end(ids: Array, mask: Array | None) -> int:
    """Where trailing tokens that the mask hides begin."""
    if mask is None or mask.size != ids.size:
        return int(ids.size)
    seen = np.flatnonzero(mask.reshape(-1))
    return int(seen[-1]) + 1 if seen.size else int(ids.size)


def _labels(given: Mapping[str, Any], chosen: Iterable[Feature]) -> Iterator[Array | None]:
    """The labels that each sample must have in the batch: its own, but that its first token, which nothing of its own
    predicts, may be left out there."""
    labels = _sequence(given.get("labels"))
    at = 0
    for feature in chosen:
        own = feature.labels
        if own is not None and labels is not None and at < labels.size and labels.reshape(-1)[at] < 0:
            own = np.concatenate([labels.reshape(-1)[at : at + 1].astype(own.dtype), own[1:]])
        at += feature.ids.size
        yield own


def _pictured(batch: Mapping[str, Any], chosen: Sequence[Feature]) -> bool:
    """Whether the features tell their pictures, and not the collator."""
    return batch.get(GRID) is None or any(f.grid is not None and len(f.grid) for f in chosen)


def _pixels(batch: Mapping[str, Any], chosen: Sequence[Feature]) -> tuple[Array, list[Array | None]] | None:
    """Some columns of the batch's pixel rows and of the samples', as the batch's dtype has them; None where they can't
    be compared, as where the collator scales them all."""
    own = [f.pixels for f in chosen if f.pixels is not None]
    mine = columns(batch.get(PIXELS), COLUMNS)
    if mine is None or not own:
        return None
    none = mine[:0]
    theirs = [none if f.pixels is None else _as(f.pixels, batch[PIXELS]) for f in chosen]
    rows = [t for t in theirs if t is not None and t.shape[1:] == mine.shape[1:]]
    known = {row.tobytes() for t in rows for row in t.astype(mine.dtype)}
    if len(rows) < len(theirs) or not any(row.tobytes() in known for row in mine):
        return None
    return mine, theirs


def _as(pixels: Any, like: Any) -> Array | None:
    """Some columns of a sample's pixel rows, rounded as the batch's dtype rounds."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(like, torch.Tensor):
        part = columns(pixels, COLUMNS)
        return None if part is None else columns(torch.from_numpy(part.copy()).to(like.dtype), part.shape[1])
    return columns(pixels, COLUMNS)
