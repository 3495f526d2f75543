"""A packed batch as views of its tensors: one row of L tokens, cut into segments, one segment per sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec
import numpy as np

from coordexp_audit_lib.boundaries.packing.artifact.forms import Array
from coordexp_audit_lib.boundaries.packing.artifact.rows import Part, marked, parts, seen_by_others, tail
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.profile import Profile, of_batch
from coordexp_audit_lib.kit.replies import HIDDEN

TELLING = ("input_ids", "position_ids", "text_position_ids", "cu_seq_lens_q", "cu_seq_lens_k", "seq_idx")

OWN = "the samples"
UNREAD = ("mRoPE rows", "lengths", "seq_idx", "cu_seq_lens_k", OWN)  # by no attention kernel


class Unpacked(msgspec.Struct, frozen=True):
    """One sample as it is encoded outside any pack: `input_ids` and `labels` [n], `grid` [images, 3], a digest or the
    content of each pixel row; the same of videos. But for the tokens, each is None where it is not known. number: in
    the file or list that it came from."""

    input_ids: Any
    labels: Any
    grid: Any
    pixel_rows: Any
    video_grid: Any = None
    video_rows: Any = None
    number: int | None = None


class PackedRow:
    """Views of the tensors of one packed batch. Nothing is copied but what must be flattened.

    Args:
        tensors: any of `TENSORS`. `input_ids`, `labels`, `text_position_ids`: [1, L] or [L]. `position_ids`: [1, L] or
            [L] (text only), [3, 1, L] or [3, L] (mRoPE), [4, 1, L] or [4, L] (text row, then mRoPE).
            `cu_seq_lens_*`: [S+1]. `lengths`: the samples' own lengths [S]. `pixel_values`: [rows, …].
        profile: of the model's family; by default what the batch itself shows of it. samples: those in the pack, in
            order, as each is encoded by itself. packing_length: the pack's capacity in tokens.
        flaws: tensors that cannot be judged, each with the reason; they are not among `tensors`. whole: these are all
            that the model is given, so that what is not there is not there for attention either. places: row and
            first token of each sample, in order, where all were found in the batch.
    """

    def __init__(
        self,
        tensors: Mapping[str, Array],
        profile: Profile | None = None,
        *,
        samples: Sequence[Unpacked] = (),
        packing_length: int | None = None,
        flaws: Mapping[str, Problem] | None = None,
        whole: bool = False,
        places: Sequence[tuple[int, int]] = (),
    ) -> None:
        self.tensors = {name: np.asarray(a) for name, a in tensors.items() if a is not None}
        self.samples, self.packing_length, self.flaws = samples, packing_length, dict(flaws or {})
        self.profile, self.whole, self.places = profile or of_batch(self.tensors), whole, places

    @property
    def pictured(self) -> Sequence[Unpacked]:
        """The samples, if the pictures of all are known."""
        return self.samples if all(s.grid is not None for s in self.samples) else ()

    def get(self, name: str) -> Array | None:
        return self.tensors.get(name)

    def missing(self, *names: str) -> list[str]:
        return [n for n in names if n not in self.tensors]

    @cached_property
    def rows(self) -> int:
        """Batch size; a packed batch has one row."""
        a = next((self.tensors[n] for n in ("input_ids", "labels") if n in self.tensors), None)
        return a.shape[0] if a is not None and a.ndim == 2 else 1

    @cached_property
    def parts(self) -> list[Part]:
        """Each row by itself, without the pads before its tokens (`rows.parts`)."""
        return parts(self)

    def like(
        self,
        tensors: Mapping[str, Array],
        samples: Sequence[Unpacked] | None = None,
        flaws: Mapping[str, Problem] | None = None,
        places: Sequence[tuple[int, int]] | None = None,
    ) -> PackedRow:
        """The same batch with other tensors; samples, flaws, places: of it, if others."""
        return PackedRow(
            tensors,
            self.profile,
            samples=self.samples if samples is None else samples,
            packing_length=self.packing_length,
            flaws=self.flaws if flaws is None else flaws,
            whole=self.whole,
            places=self.places if places is None else places,
        )

    @property
    def is_pack(self) -> bool:
        """Whether it is one row of samples: a tensor tells where they begin, or would if it could be judged, or it was
        made of several."""
        told = {*self.starts, *(n for n in self.flaws if n in TELLING)} - {"lengths"}
        return self.rows == 1 and (bool(told) or len(self.samples) > 1)

    @cached_property
    def length(self) -> int | None:
        """L, the number of tokens."""
        told = [self.get(n) for n in ("input_ids", "labels", "text_position_ids", "position_ids")]
        length = next((int(a.shape[-1]) for a in told if a is not None and a.ndim), None)
        cu = self.get("cu_seq_lens_q")
        return int(cu[-1]) if length is None and cu is not None and cu.size else length

    def flat(self, name: str) -> Array | None:
        """A [1, L] or [L] tensor as [L]; None if it is absent or of another shape."""
        a = self.get(name)
        return a.reshape(-1) if a is not None and a.size == self.length and a.shape[-1:] == (self.length,) else None

    @cached_property
    def labels(self) -> Array | None:
        """The labels [L], unshifted: entry i is the token at i, or is ignored. Where the profile says that they are
        shifted already, the first entry is ignored, and what the last one predicts is not in the pack."""
        labels, shift, weights = self.flat("labels"), self.profile.label_shift, self.flat("loss_mask")
        if labels is not None and weights is not None:
            labels = np.where(weights == 0, np.asarray(self.profile.ignore_index, labels.dtype), labels)
        if labels is None or not shift:
            return labels
        return np.concatenate([np.full(shift, self.profile.ignore_index, labels.dtype), labels[:-shift]])

    @cached_property
    def shown_shift(self) -> int:
        """How labels are shifted, as the tokens show it: by one where they are not the tokens at their place and are
        the next ones, but for each sample's last, whose next one is not in the pack."""
        if self.profile.label_shift:
            return self.profile.label_shift
        unshifted, shifted = self.fit or (0, 0)
        return 1 if 2 * shifted < unshifted else 0

    @cached_property
    def fit(self) -> tuple[int, int] | None:
        """`misfits` of all rows; None where nothing is supervised, or there are no labels."""
        each = [found for part in self.parts if (found := part.row.misfits) is not None]
        return (sum(a for a, _ in each), sum(b for _, b in each)) if each else None

    @cached_property
    def misfits(self) -> tuple[int, int] | None:
        """How many supervised labels of the row are not the tokens at their place, and how many not the next ones, but
        for the last of each sample."""
        ids, labels, weights = self.flat("input_ids"), self.flat("labels"), self.flat("loss_mask")
        if ids is None or labels is None:
            return None
        supervised = (labels != self.profile.ignore_index) & (True if weights is None else weights != 0)
        if not supervised.any():
            return None
        next_one = np.append(labels[:-1] == ids[1:], True)
        next_one[self.segments[self.segments > 0] - 1] = True
        return int((supervised & (labels != ids)).sum()), int((supervised & ~next_one).sum())

    @cached_property
    def position_rows(self) -> Array | None:
        """`position_ids` as [rows, L]; None if absent or if it has more than one sequence."""
        a = self.get("position_ids")
        if a is None or a.ndim == 0 or a.shape[-1] != self.length or (a.ndim == 3 and a.shape[1] != 1):
            return None
        return a.reshape(-1, a.shape[-1])

    @cached_property
    def text_positions(self) -> Array | None:
        """The text row [L]: `text_position_ids`, or the row of `position_ids` that is one."""
        if "text_position_ids" in self.tensors:
            return self.flat("text_position_ids")
        rows = self.position_rows
        return rows[0] if rows is not None and len(rows) in (1, self.profile.position_rows) else None

    @cached_property
    def copied_temporal(self) -> bool:
        """Whether the text row is a copy of the temporal row, as some collators make it: it does not count through an
        image, and yet is 0 where, and only where, the samples begin."""
        rows, text = self.position_rows, self.text_positions
        if rows is None or text is None or "text_position_ids" in self.tensors or len(rows) != 4:
            return False
        return bool((rows[0] == rows[1]).all() and (np.diff(text.astype(np.int64))[text[1:] != 0] != 1).any())

    @cached_property
    def mrope(self) -> Array | None:
        """The temporal, height and width rows [3, L]."""
        rows, count = self.position_rows, self.profile.mrope_rows
        given = rows is not None and count > 0 and len(rows) in (count, self.profile.position_rows)
        return rows[-count:] if given and rows is not None else None

    @cached_property
    def flat_mask(self) -> Array | None:
        """`attention_mask` [L] if it has a value for each token: a flag or a segment's number, 0 where it is hidden.
        None if it is added to the logits, be it of every query alike."""
        mask, flat = self.get("attention_mask"), self.flat("attention_mask")
        added = mask is None or (mask.ndim > 2 and mask.dtype.kind == "f")
        return None if added or flat is None or flat.min(initial=0) < 0 else flat

    @cached_property
    def numbered_mask(self) -> Array | None:
        """`flat_mask` if it numbers the samples (1, 1, 2, 2, 3, …) rather than flag what is there."""
        mask = self.flat_mask
        if mask is None or mask.dtype.kind not in "iu" or mask.max(initial=0) < 2:
            return None
        there = mask[mask != 0]
        return mask if (np.diff(there) >= 0).all() else None

    @cached_property
    def visible(self) -> Array | None:
        """A mask token by token as what each token sees, [heads, L, L]; None where there is none."""
        mask, length = self.get("attention_mask"), self.length
        if mask is None or length is None or self.flat_mask is not None or mask.shape[-2:] != (length, length):
            return None
        return reading(mask)(mask.reshape(-1, length, length))

    @cached_property
    def block_starts(self) -> Array | None:
        """First tokens of the blocks of a square mask: those that see none before them, and are not hidden."""
        if self.visible is None:
            return None
        sees: Array = np.any(self.visible, axis=0)
        first = sees.argmax(axis=1)
        return np.flatnonzero((first == np.arange(len(first))) & np.any(sees, axis=1))

    @cached_property
    def kept_apart_by(self) -> list[str]:
        """Which of the tensors that tell the samples apart an attention kernel reads: bounds of a varlen kernel, a mask
        that separates, or a text row of positions. Rows of mRoPE and lengths are read by none."""
        return [n for n in self.starts if n not in UNREAD]

    @cached_property
    def runs_on(self) -> int | None:
        """The first token from which text positions count on from the sample before, where a mask keeps the samples
        apart, which every attention reads; None where they restart, or are wrong in another way."""
        text, masked = self.text_positions, self.starts.get("attention_mask")
        if text is None or masked is None or self.copied_temporal or masked.size < 2:
            return None
        end = self.padding
        inner = masked[(masked > 0) & (masked < end)]
        steps = np.diff(text[:end].astype(np.int64)) == 1
        steps[inner - 1] = True
        moved = inner[text[inner] != 0]
        return int(moved[0]) if moved.size and steps.all() and text[0] == 0 else None

    @property
    def read_by(self) -> str:
        """Which of the tensors that tell the samples apart which attention reads, as the end of a sentence; empty where
        none does."""
        told = self.kept_apart_by
        bounds = next((n for n in ("cu_seq_lens_padded", "cu_seq_lens_q") if n in told), "")
        others = [n for n in told if not n.startswith("cu_seq_lens")]
        read = [f"a varlen kernel reads {bounds}"] if bounds else []
        read += [f"{'other attention' if bounds else 'attention'} reads {' and '.join(others)}"] if others else []
        return f": {'; '.join(read)}" if read else ""

    @cached_property
    def padding(self) -> int:
        """Where trailing padding begins; L if there is none.

        Padding shows as a rest beyond `lengths`, as zeros at the end of `attention_mask`, as pad tokens at the end or
        as a run of at least two text positions 0 there, none of them supervised.
        """
        total = self.length or 0
        lengths, mask, positions, labels = (self.get("lengths"), self.flat_mask, self.text_positions, self.labels)
        found = [total, total if lengths is None else int(lengths.sum())]
        found.append(total if mask is None else total - tail(mask == 0))
        ids, pad = self.flat("input_ids"), self.profile.pad
        if self.places and self.rows == 1 and ids is not None:
            stop = self.places[-1][1] + len(self.samples[-1].input_ids)
            found.append(stop if stop < total and (ids[stop:] == ids[-1]).all() else total)
        ignored = labels is None or labels == self.profile.ignore_index
        if ids is not None and pad is not None and mask is None:
            filled = tail((ids == pad) & ignored)
            found.append(total - filled if filled < total else total)
        if self.visible is not None:
            found.append(total - _idle_tail(self.visible, self.block_starts, ignored))
        if positions is not None:
            idle = tail((positions == 0) & ignored)
            found.append(total - idle if idle > 1 else total)
        return min(found)

    @cached_property
    def starts(self) -> dict[str, Array]:
        """First tokens of the segments, ascending, as each tensor at hand tells them."""
        found = {OWN: np.array([at for _, at in self.places])} if self.places and self.rows == 1 else {}
        # Padded THD: `cu_seq_lens_q` counts the real tokens, and `cu_seq_lens_padded` says where each sequence lies.
        padded = "cu_seq_lens_padded" in self.tensors
        for name in ("cu_seq_lens_padded",) if padded else ("cu_seq_lens_q", "cu_seq_lens_k"):
            cu = self.get(name)
            if cu is not None and cu.ndim == 1 and cu.size:
                found[name] = cu[:-1]
        if self.text_positions is not None:
            found["text positions"] = np.flatnonzero(self.text_positions == 0)
        if self.mrope is not None:
            found["mRoPE rows"] = np.flatnonzero((self.mrope == 0).all(axis=0))
        if self.numbered_mask is not None:
            found["attention_mask"] = _changes(self.numbered_mask, skip=0)
        for name in ("seq_idx", "document_ids"):
            numbers = self.flat(name)
            if numbers is not None:
                found[name] = _changes(numbers)
        if self.block_starts is not None:
            found["attention_mask"] = self.block_starts
        lengths = self.get("lengths")
        if lengths is not None:
            ends = np.cumsum(lengths.reshape(-1))
            inner = ends[:-1] if ends.size and ends[-1] >= (self.length or 0) else ends
            found["lengths"] = np.concatenate([[0], inner])
        return found

    @cached_property
    def segments(self) -> Array:
        """Every first token that any tensor names, padding left out: where a context may begin anew."""
        if not self.starts:
            return np.zeros(0, dtype=np.int64)
        return np.flatnonzero(marked(max(self.padding, 1), np.concatenate(list(self.starts.values()))))


def reading(mask: Array) -> Callable[[Array], Array]:
    """What entries of a square mask let through: the true ones, or, of what is added to logits, what hides nothing."""
    flags = mask.dtype.kind == "b" or (mask.dtype.kind in "ui" and mask.min() >= 0)
    if flags or (mask.min() >= 0 and mask.max() == 1 and bool(((mask == 0) | (mask == 1)).all())):
        return lambda part: part != 0
    return lambda part: part > HIDDEN


def _idle_tail(visible: Array, starts: Array | None, ignored: Any) -> int:
    """How many of the last tokens are pads by a square mask: they see themselves alone, are hidden from themselves, or
    no other token sees them, and what is not supervised either has no effect. visible: [heads, L, L]. ignored: which
    are not supervised."""
    sees = np.asarray(visible.any(axis=0))
    alone = marked(len(sees), np.zeros(0) if starts is None else starts)
    idle = max(tail(alone & ignored), tail(~np.diagonal(sees) & ignored))
    idle = max(idle, tail(~seen_by_others(visible) & ignored))
    return idle if idle < len(sees) else 0


def _changes(numbers: Array, skip: int | None = None) -> Array:
    """Where a row of segment numbers changes; `skip`: the number of what is no segment."""
    begins = np.concatenate([[True], numbers[1:] != numbers[:-1]])
    return np.flatnonzero(begins if skip is None else begins & (numbers != skip))
