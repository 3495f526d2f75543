"""The rows of a batch one by one: a batch of several rows, packed or padded, and a row with pads before its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coordexp_audit_lib.boundaries.packing.artifact.forms import Array
from coordexp_audit_lib.kit import mrope
from coordexp_audit_lib.kit.profile import IMAGE_PAD, VIDEO_PAD, Profile

if TYPE_CHECKING:
    from coordexp_audit_lib.boundaries.packing.artifact.row import PackedRow

MARKS = ("seq_idx", "document_ids", "loss_mask", "mm_token_type_ids", "attention_mask")
TOKENS = ("input_ids", "labels", "text_position_ids", *MARKS)
BOUNDS = ("cu_seq_lens_q", "cu_seq_lens_k", "cu_seq_lens_padded", "lengths")
VISION = {"image": ("image_grid_thw", "pixel_values"), "video": ("video_grid_thw", "pixel_values_videos")}


class Part(NamedTuple):
    """A row of a batch without the pads before its tokens, and without those that the mask hides between them. number:
    of the row; None where it is the only one. first: the first token that is not such a pad. kept: which of the tokens
    from there on it holds, if not all."""

    number: int | None
    first: int
    row: PackedRow
    kept: Array | None = None

    def token(self, index: int) -> int:
        """The place in the batch's row of a token of this one."""
        return self.first + (index if self.kept is None or index >= self.kept.size else int(self.kept[index]))


def parts(whole: PackedRow) -> list[Part]:
    """Each row of a batch by itself, without pads before its tokens; a row that has none as it is."""
    if whole.rows == 1:
        return [_part(None, whole)]
    made = []
    ids = whole.get("input_ids")
    grids = shares(whole, list(ids)) if ids is not None and ids.ndim == 2 else []
    for number in range(whole.rows):
        made.append(_part(number, _row(whole, number, grids[number] if grids else {})))
    return made


def _part(number: int | None, row: PackedRow) -> Part:
    aligned = {*TOKENS, "position_ids"} - {"loss_mask"}  # which may be of the responses alone
    if any(a.shape[-1:] != (row.length,) for n, a in row.tensors.items() if n in aligned):
        return Part(number, 0, row)  # which is a finding, and nothing can be left out of all alike
    first = leading(row)
    cut = _cut(row, first) if first else row
    kept = _seen(cut)
    return Part(number, first, cut if kept is None else _only(cut, kept), kept)


def _seen(row: PackedRow) -> Array | None:
    """The tokens of a row but those that its mask hides between others, where there are such and none is supervised."""
    mask, labels = row.flat_mask, row.labels
    if mask is None or any(n in row.tensors for n in BOUNDS):
        return None
    hidden = mask == 0
    hidden[row.padding :] = False
    if not hidden.any() or (labels is not None and (labels[hidden] != row.profile.ignore_index).any()):
        return None
    return np.flatnonzero(~hidden)


def _only(row: PackedRow, kept: Array) -> PackedRow:
    """A row of these tokens alone."""
    of_tokens = {n for n in (*TOKENS, "position_ids") if row.tensors.get(n, kept[0]).shape[-1:] == (row.length,)}
    tensors = {n: a[..., kept] if n in of_tokens else a for n, a in row.tensors.items()}
    return row.like(tensors, places=[(number, int(np.searchsorted(kept, at))) for number, at in row.places])


def joined(whole: PackedRow) -> PackedRow:
    """The tokens of all rows one after the other, each row a segment or more; with bounds only where these run through
    all rows. What is not told by token keeps."""
    ids = whole.tensors["input_ids"]
    kept = {n: a for n, a in whole.tensors.items() if n.endswith(("grid_thw", "ts")) or n.startswith("pixel")}
    types = whole.get("mm_token_type_ids")
    kept |= {} if types is None or types.shape != ids.shape else {"mm_token_type_ids": types.reshape(1, -1)}
    bounds = {n: whole.tensors[n] for n in (*BOUNDS[:3], "max_length_q", "max_length_k") if n in whole.tensors}
    if "cu_seq_lens_q" not in bounds:
        starts = [part.number * ids.shape[1] + part.first for part in whole.parts if part.number is not None]
        bounds = {"cu_seq_lens_q": np.array([*starts, ids.size])}
    tensors = {"input_ids": ids.reshape(1, -1), **kept, **bounds}
    return whole.like(tensors, places=[(0, number * ids.shape[1] + at) for number, at in whole.places])


def oriented(positions: Array, ids: Array | None) -> Array:
    """`position_ids` [rows, B, L], also where they were written [B, rows, L], as verl does."""
    if positions.ndim != 3 or ids is None or ids.ndim != 2 or ids.dtype.kind not in "iu":
        return positions
    batch = ids.shape[0]
    ours, theirs = positions.shape[1] == batch, positions.shape[0] == batch and positions.shape[1] in (3, 4)
    if theirs and ours:  # as many samples as rows of positions: these are alike but at pictures
        fits = positions.shape[-1] == ids.shape[-1]
        theirs = fits and _apart(np.moveaxis(positions, 0, 1), ids) < _apart(positions, ids)
    return np.moveaxis(positions, 0, 1) if theirs else positions


def _apart(positions: Array, ids: Array) -> int:
    """At how many tokens of text the last three rows of positions are not alike."""
    text = (ids != IMAGE_PAD) & (ids != VIDEO_PAD)
    return int((text & (positions[-3:] != positions[-1:]).any(axis=0)).sum())


def leading(row: PackedRow) -> int:
    """How many pads stand before a row's tokens: those that the mask hides, else two and more of the pad token of which
    none is supervised. Where bounds say where samples begin, none are left out."""
    ids, mask, pad = row.flat("input_ids"), row.flat_mask, row.profile.pad
    if ids is None or any(n in row.tensors for n in BOUNDS[:3]):
        return 0
    if mask is not None:
        found = tail(mask[::-1] == 0)
        return found if found < ids.size else 0
    labels = row.flat("labels")
    if row.visible is not None:
        idle, pad = ~seen_by_others(row.visible), int(ids[0]) if pad is None else pad
    elif pad is None or row.get("attention_mask") is not None:
        return 0
    else:
        idle = np.ones(ids.size, bool)
    idle &= (ids == pad) & (True if labels is None else labels == row.profile.ignore_index)
    found = tail(idle[::-1])
    return found if (1 if row.visible is None else 0) < found < ids.size else 0


def seen_by_others(visible: Array) -> Array:
    """Which tokens are seen by another one. visible: [heads, L, L], queries first."""
    sees = visible.any(axis=0)
    return np.asarray(sees.sum(axis=0) > np.diagonal(sees))


def _row(whole: PackedRow, number: int, vision: dict[str, Array]) -> PackedRow:
    """One row with what belongs to it."""
    batch, length = whole.rows, whole.length
    tensors = {}
    for name, a in whole.tensors.items():
        if name == "attention_mask" and a.ndim > 2 and len(a) == 1:
            tensors[name] = a  # one for all
        elif name in TOKENS and a.ndim > 1 and len(a) == batch:
            tensors[name] = a[number : number + 1]
        elif name == "position_ids" and a.ndim == 3 and a.shape[1] == batch:
            tensors[name] = a[:, number : number + 1]
        elif name == "position_ids" and a.ndim == 2 and len(a) in (1, batch):
            tensors[name] = a[number : number + 1] if len(a) == batch else a
        elif name == "lengths" and a.shape == (batch,) and int(a.max()) <= (length or 0):
            tensors[name] = a[number : number + 1]
        elif name in BOUNDS and a.ndim == 2 and len(a) == batch:
            tensors[name] = without_filling(a[number])
    flaws = whole.flaws if number == 0 else {}
    samples = whole.samples[number : number + 1] if len(whole.samples) == batch else ()
    if whole.places:
        samples = [s for s, (row, _) in zip(whole.samples, whole.places, strict=True) if row == number]
    return whole.like(tensors | vision, samples, flaws, [p for p in whole.places if p[0] == number])


def without_filling(bounds: Array) -> Array:
    """Bounds or lengths of one row, without what fills them up to those of other rows: negative numbers, lengths of 0,
    or bounds that repeat the last one."""
    kept = bounds[: bounds.size - tail(bounds <= 0)] if bounds.size and bounds[-1] <= 0 else bounds
    return kept[: kept.size - max(tail(kept == kept[-1]) - 1, 0)] if kept.size > 1 and kept[0] == 0 else kept


def _cut(row: PackedRow, first: int) -> PackedRow:
    """A row from its token `first` on. Positions that counted the pads as well are counted without them: rotary
    attention reads differences only."""
    tensors = dict(row.tensors)
    for name in (*TOKENS, "position_ids"):
        a = tensors.get(name)
        if a is None or a.shape[-1:] != (row.length,):
            continue
        square = name == "attention_mask" and a.ndim > 1 and a.shape[-2] == a.shape[-1]
        a = a[..., first:, first:] if square else a[..., first:]
        counted = name.endswith("position_ids") and bool((a[..., 0] == first).all()) and bool((a >= first).all())
        tensors[name] = a - first if counted else a
    return row.like(tensors, places=[(number, at - first) for number, at in row.places])


def shares(whole: PackedRow, pieces: Sequence[Array]) -> list[dict[str, Array]]:
    """The grids, pixel rows and seconds of each piece of the tokens [n], in order, by its runs of pads; none where
    these do not add up, or a grid is missing."""
    made: list[dict[str, Array]] = [{} for _ in pieces]
    for what, pad in (("image", whole.profile.image_pad), ("video", whole.profile.video_pad)):
        grid, runs = whole.get(VISION[what][0]), [0 if pad is None else len(mrope.runs(p == pad)[0]) for p in pieces]
        if grid is None and not any(runs):
            continue
        each = np.cumsum([_runs_of(g, whole.profile, what) for g in grid]) if grid is not None else np.zeros(0)
        if grid is None or each.size == 0 or int(each[-1]) != sum(runs):
            return []
        ends = [0, *np.searchsorted(each, np.cumsum(runs), side="right").tolist()]
        for of, start, end in zip(made, ends[:-1], ends[1:], strict=True):
            of |= _share(whole, what, start, end) if end > start else {}  # noqa: PLW2901  into the piece's own
    return made


def _share(whole: PackedRow, what: str, start: int, end: int) -> dict[str, Array]:
    """What belongs to the images or videos from `start` to `end`."""
    grid_name, pixel_name = VISION[what]
    grid, pixels, seconds = (whole.get(n) for n in (grid_name, pixel_name, "second_per_grid_ts"))
    assert grid is not None
    patches = grid.prod(axis=1)
    made = {grid_name: grid[start:end]}
    if pixels is not None and len(pixels) == int(patches.sum()):
        made[pixel_name] = pixels[int(patches[:start].sum()) : int(patches[:end].sum())]
    if what == "video" and seconds is not None and len(seconds) == len(grid):
        made["second_per_grid_ts"] = seconds[start:end]
    return made


def _runs_of(grid: Array, profile: Profile, what: str) -> int:
    """In how many runs the pads of one picture stand."""
    return len(mrope.frames(grid[None], profile)) if what == "video" else 1


def marked(length: int, places: Array) -> Array:
    """Flags of a row [length], true at these places; those beyond it are left out. NumPy's own set routines cost a
    masked-array import, a tenth of what a batch costs in all."""
    flags = np.zeros(length, bool)
    flags[places[(places >= 0) & (places < length)].astype(np.int64)] = True
    return flags


def tail(flags: Array) -> int:
    """How many of the last entries are true."""
    stops = np.flatnonzero(~flags)
    return len(flags) - int(stops[-1]) - 1 if stops.size else len(flags)
