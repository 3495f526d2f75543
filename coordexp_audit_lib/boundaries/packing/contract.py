"""What a packed batch must be: one predicate per invariant, over plain arrays.

The invariants, the guards and `coordexp-audit batch` all judge with these. A predicate yields a `Problem` for each
way in which its claim fails, with the first token at which it shows; what the tensors can't decide is said, not passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from coordexp_audit_lib.boundaries.packing.row import IGNORE_INDEX, MROPE_ROWS, TEXT_AND_MROPE_ROWS, Array, PackedRow

IMAGE_PAD = 151_655
MERGE = 2


class Problem(msgspec.Struct, frozen=True):
    """One way in which a packed batch breaks a claim. `token`: the first token at which it shows, if at one."""

    message: str
    token: int | None = None
    expected: Any = None
    actual: Any = None


class Alone(msgspec.Struct, frozen=True):
    """One sample as it is encoded outside any pack: `input_ids` and `labels` [n], `grid` [images, 3], a digest or the
    content of each pixel row."""

    input_ids: Any
    labels: Any
    grid: Any
    pixel_rows: Any


class Undecided(Exception):
    """The tensors at hand can't decide the claim; the message names what is missing."""


def need(row: PackedRow, *names: str) -> None:
    """Raise `Undecided` unless the batch is one row and has these tensors."""
    if row.rows != 1:
        raise Undecided(f"the batch has {row.rows} rows: it is not packed into one")
    if missing := row.missing(*names):
        raise Undecided(f"needs {', '.join(missing)}")


def capacity(row: PackedRow, packing_length: int) -> Iterator[Problem]:
    """L ≤ `packing_length`; a single sample that is longer by itself may stand alone."""
    if row.length is None:
        raise Undecided("needs input_ids")
    if row.length > packing_length and len(row.segments) != 1:
        yield Problem("the pack is longer than packing_length", packing_length, packing_length, row.length)


def fields_aligned(row: PackedRow) -> Iterator[Problem]:
    """Every token field has L entries, and every tensor that tells segment boundaries tells the same."""
    need(row)
    if row.length is None or len(row.tensors) < 2:
        raise Undecided("needs input_ids and one field to align with it")
    yield from _lengths_agree(row)
    told = {name: starts[starts < row.padding] for name, starts in row.starts.items()}
    names = list(told)
    for name in names[1:]:
        token = _first_difference(told[names[0]], told[name])
        if token is not None:
            yield Problem(
                f"{name} and {names[0]} tell different segment boundaries",
                token,
                told[names[0]].tolist(),
                told[name].tolist(),
            )
    yield from _mask_parts_segments(row)


def _lengths_agree(row: PackedRow) -> Iterator[Problem]:
    for name in ("input_ids", "labels", "text_position_ids", "position_ids"):
        a = row.get(name)
        if a is not None and (a.ndim == 0 or a.shape[-1] != row.length):
            yield Problem(f"{name} has another length than the pack", None, row.length, list(a.shape))
    a = row.get("position_ids")
    if a is not None and a.ndim > 1 and a.shape[0] not in (1, MROPE_ROWS, TEXT_AND_MROPE_ROWS):
        yield Problem("position_ids has a number of rows that means nothing", None, [1, 3, 4], int(a.shape[0]))
    mask = row.get("attention_mask")
    if mask is not None and (mask.ndim == 0 or mask.shape[-1] != row.length):
        yield Problem("attention_mask has another length than the pack", None, row.length, list(mask.shape))


def _first_difference(a: Array, b: Array) -> int | None:
    both = np.setxor1d(a, b)
    return int(both[0]) if both.size else None


def _mask_parts_segments(row: PackedRow) -> Iterator[Problem]:
    """A mask must separate the segments: by zeros between them (square), by their numbers, or by not being there."""
    mask = row.get("attention_mask")
    inner = row.segments[row.segments > 0]
    if mask is None or row.length is None or not inner.size or mask.shape[-1:] != (row.length,):
        return
    if mask.size == row.length:
        flat = mask.reshape(-1)
        joined = inner[flat[inner] == flat[inner - 1]]
    elif mask.ndim >= 2 and mask.shape[-2] == row.length:
        square = mask.reshape(-1, row.length, row.length)[0]
        reached = square[inner, inner - 1]
        joined = inner[(reached != 0) if square.dtype.kind in "bui" else (reached >= 0)]
    else:
        return
    if joined.size:
        text = "attention_mask lets a segment's first token see the segment before it"
        yield Problem(text, int(joined[0]), "masked", "visible")


def cu_seqlens(row: PackedRow) -> Iterator[Problem]:
    """int32, from 0 to L, strictly increasing, the running sum of the lengths; `max_length` is the longest segment."""
    need(row, "cu_seq_lens_q")
    if row.length is None:
        raise Undecided("needs input_ids")
    for name in ("cu_seq_lens_q", "cu_seq_lens_k"):
        cu = row.get(name)
        if cu is not None:
            yield from _one_cu(name, cu, row)
    q, k = row.get("cu_seq_lens_q"), row.get("cu_seq_lens_k")
    if k is not None and q is not None and not np.array_equal(q, k):
        yield Problem("cu_seq_lens_q and cu_seq_lens_k differ", None, q.tolist(), k.tolist())


def _one_cu(name: str, cu: Array, row: PackedRow) -> Iterator[Problem]:
    if cu.dtype != np.int32:
        yield Problem(f"{name} is {cu.dtype}: attention kernels read int32", None, "int32", str(cu.dtype))
    if cu.ndim != 1 or cu.size < 2:
        yield Problem(f"{name} bounds no segment", None, "[segments + 1]", list(cu.shape))
        return
    if cu[0] != 0:
        yield Problem(f"{name} does not begin at 0", 0, 0, int(cu[0]))
    if cu[-1] != row.length:
        yield Problem(f"{name} does not end at the number of tokens", int(cu[-1]), row.length, int(cu[-1]))
    sizes = np.diff(cu.astype(np.int64))
    if (sizes <= 0).any():
        yield Problem(f"{name} does not increase strictly", int(cu[int((sizes <= 0).argmax())]), None, cu.tolist())
        return
    lengths = row.get("lengths")
    if lengths is not None and not np.array_equal(np.cumsum(lengths), cu[1 : lengths.size + 1]):
        ends = np.concatenate([[0], np.cumsum(lengths)])
        yield Problem(
            f"{name} is not the running sum of lengths", _first_difference(ends, cu), ends.tolist(), cu.tolist()
        )
    longest = row.get("max_length_q" if name.endswith("q") else "max_length_k")
    real = sizes[cu[:-1] < row.padding]
    if longest is not None and int(longest) not in (int(sizes.max()), int(real.max(initial=0))):
        text = f"max_length is not the longest segment of {name}"
        yield Problem(text, None, int(sizes.max()), int(longest))


def no_cross_boundary_label(row: PackedRow, alone: Sequence[Alone] = ()) -> Iterator[Problem]:
    """No label is predicted from another sample's context; labels are the samples' own, one after the other.

    Labels are unshifted: the logits at token i−1 predict `labels[i]`, so a segment's first token must be ignored.
    """
    need(row, "labels")
    labels = row.flat("labels")
    if labels is None or not row.starts:
        raise Undecided("needs labels of the pack's length, and one of cu_seq_lens_q, lengths or text positions")
    first = row.segments[row.segments > 0]
    crossed = first[labels[first] != IGNORE_INDEX]
    if crossed.size:
        token = int(crossed[0])
        text = "the first token of a segment is supervised: it would be predicted from the sample before it"
        yield Problem(text, token, IGNORE_INDEX, int(labels[token]))
    ids = row.flat("input_ids")
    if ids is not None:
        off = np.flatnonzero((labels != IGNORE_INDEX) & (labels != ids))
        if off.size:
            text = "a supervised label is not the token at its place (labels are unshifted)"
            yield Problem(text, int(off[0]), int(ids[off[0]]), int(labels[off[0]]))
    if alone:
        yield from _concatenated("labels", labels, [a.labels for a in alone], row.padding, IGNORE_INDEX)


def tokens_concatenated(row: PackedRow, alone: Sequence[Alone]) -> Iterator[Problem]:
    """`input_ids` are the samples' own, one after the other."""
    ids = row.flat("input_ids")
    if ids is None:
        raise Undecided("needs input_ids")
    yield from _concatenated("input_ids", ids, [a.input_ids for a in alone], row.padding, None)


def _concatenated(name: str, packed: Array, parts: Sequence[Any], end: int, rest: int | None) -> Iterator[Problem]:
    joined = np.concatenate([np.asarray(p) for p in parts])
    kept = packed[: max(end, joined.size)]
    if joined.size != kept.size and not (joined.size < kept.size and end <= joined.size):
        yield Problem(f"{name} is not as long as the samples together", None, int(joined.size), int(kept.size))
    shared = min(joined.size, kept.size)
    wrong = np.flatnonzero(joined[:shared] != kept[:shared])
    if wrong.size:
        token = int(wrong[0])
        text = f"{name} is not the concatenation of the samples' own"
        yield Problem(text, token, int(joined[token]), int(kept[token]))
    tail = packed[joined.size :]
    if rest is not None and tail.size and (tail != rest).any():
        yield Problem(f"{name} of padding is not ignored", int(joined.size + (tail != rest).argmax()), rest, None)


def vision_in_order(row: PackedRow, alone: Sequence[Alone] = ()) -> Iterator[Problem]:
    """Each run of image pads is as long as its image's merged grid, in order; grids and pixel rows add up and keep
    the samples' order."""
    need(row, "input_ids")
    ids = row.flat("input_ids")
    assert ids is not None
    first, sizes = runs(ids == IMAGE_PAD)
    grid = row.get("image_grid_thw")
    if grid is None and not alone:
        if first.size or "pixel_values" in row.tensors:
            raise Undecided("needs image_grid_thw")
        return
    grid = np.zeros((0, 3), dtype=np.int64) if grid is None else grid.reshape(-1, 3)
    yield from _runs_fit(first, sizes, grid)
    spilled = [int(s) for s in row.segments if s and ids[s] == IMAGE_PAD and ids[s - 1] == IMAGE_PAD]
    if spilled:
        yield Problem("an image's pads run over a segment boundary", spilled[0])
    pixels = row.get("pixel_values")
    patches = int(grid.prod(axis=1).sum())
    have = 0 if pixels is None else len(pixels)
    if (pixels is not None or alone) and have != patches:
        yield Problem("pixel rows and grids do not add up", None, patches, have)
    if alone:
        yield from _vision_of_samples(row, grid, pixels, alone)


def runs(flags: Array) -> tuple[Array, Array]:
    """First index and length of every run of true entries."""
    edges = np.diff(flags.astype(np.int8), prepend=0, append=0)
    first = np.flatnonzero(edges == 1)
    return first, np.flatnonzero(edges == -1) - first


def _runs_fit(first: Array, sizes: Array, grid: Array) -> Iterator[Problem]:
    if len(grid) != first.size:
        text = "the number of images is not the number of runs of image pads"
        yield Problem(text, int(first[0]) if first.size else None, int(first.size), len(grid))
        return
    merged = grid.prod(axis=1) // MERGE**2
    wrong = np.flatnonzero(merged != sizes)
    if wrong.size:
        i = int(wrong[0])
        text = f"image {i} has another number of pads than its merged grid has cells"
        yield Problem(text, int(first[i]), int(merged[i]), int(sizes[i]))


def _vision_of_samples(row: PackedRow, grid: Array, pixels: Array | None, alone: Sequence[Alone]) -> Iterator[Problem]:
    grids = np.concatenate([np.asarray(a.grid, dtype=np.int64).reshape(-1, 3) for a in alone])
    if not np.array_equal(grids, grid):
        yield Problem("image_grid_thw is not the samples' own in order", None, grids.tolist(), grid.tolist())
        return
    rows = np.concatenate([np.asarray(a.pixel_rows) for a in alone]) if alone else np.zeros(0)
    if pixels is None or pixels.shape != rows.shape or not len(rows):
        return
    differs = np.flatnonzero((pixels != rows).reshape(len(rows), -1).any(axis=1))
    if differs.size:
        ends = np.cumsum(grids.prod(axis=1))
        image = int(np.searchsorted(ends, differs[0], side="right"))
        text = f"pixel row {int(differs[0])} is not that of image {image}: rows do not follow the samples' order"
        yield Problem(text, None, str(rows[differs[0]]), str(pixels[differs[0]]))
