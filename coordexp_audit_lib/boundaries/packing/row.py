"""A packed batch as plain arrays: one row of L tokens, cut into segments, one segment per sample."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
TENSORS = (
    "input_ids",
    "labels",
    "position_ids",
    "text_position_ids",
    "cu_seq_lens_q",
    "cu_seq_lens_k",
    "max_length_q",
    "max_length_k",
    "attention_mask",
    "lengths",
    "image_grid_thw",
    "pixel_values",
)
MROPE_ROWS, TEXT_AND_MROPE_ROWS = 3, 4
IGNORE_INDEX = -100


class PackedRow:
    """Views of the tensors of one packed batch. Nothing is copied but what must be flattened.

    Args:
        tensors: any of `TENSORS`. `input_ids`, `labels`, `text_position_ids`: [1, L] or [L]. `position_ids`: [1, L] or
            [L] (text only), [3, 1, L] or [3, L] (mRoPE), [4, 1, L] or [4, L] (text row, then mRoPE).
            `cu_seq_lens_*`: [S+1]. `lengths`: the samples' own lengths [S]. `pixel_values`: [rows, …].
    """

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        self.tensors = {name: np.asarray(a) for name, a in tensors.items() if a is not None}

    def get(self, name: str) -> Array | None:
        return self.tensors.get(name)

    def missing(self, *names: str) -> list[str]:
        return [n for n in names if n not in self.tensors]

    @cached_property
    def rows(self) -> int:
        """Batch size; a packed batch has one row."""
        for name in ("input_ids", "labels"):
            a = self.get(name)
            if a is not None:
                return a.shape[0] if a.ndim == 2 else 1
        return 1

    @cached_property
    def length(self) -> int | None:
        """L, the number of tokens."""
        for name in ("input_ids", "labels", "text_position_ids", "position_ids"):
            a = self.get(name)
            if a is not None and a.ndim:
                return int(a.shape[-1])
        cu = self.get("cu_seq_lens_q")
        return int(cu[-1]) if cu is not None and cu.size else None

    def flat(self, name: str) -> Array | None:
        """A [1, L] or [L] tensor as [L]; None if it is absent or of another shape."""
        a = self.get(name)
        return a.reshape(-1) if a is not None and a.size == self.length and a.shape[-1:] == (self.length,) else None

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
        return rows[0] if rows is not None and len(rows) in (1, TEXT_AND_MROPE_ROWS) else None

    @cached_property
    def mrope(self) -> Array | None:
        """The temporal, height and width rows [3, L]."""
        rows = self.position_rows
        return rows[-MROPE_ROWS:] if rows is not None and len(rows) in (MROPE_ROWS, TEXT_AND_MROPE_ROWS) else None

    @cached_property
    def padding(self) -> int:
        """Where trailing padding begins; L if there is none.

        Padding shows as a rest beyond `lengths`, as zeros at the end of `attention_mask`, or as a run of at least two
        text positions 0 at the end, none of them supervised.
        """
        total = self.length or 0
        found = [total]
        lengths = self.get("lengths")
        if lengths is not None and int(lengths.sum()) < total:
            found.append(int(lengths.sum()))
        mask = self.flat("attention_mask")
        found.append(total - _tail(mask == 0) if mask is not None else total)
        positions, labels = self.text_positions, self.flat("labels")
        if positions is not None:
            idle = positions == 0 if labels is None else (positions == 0) & (labels == IGNORE_INDEX)
            found.append(total - _tail(idle) if _tail(idle) > 1 else total)
        return min(found)

    @cached_property
    def starts(self) -> dict[str, Array]:
        """First tokens of the segments, ascending, as each tensor at hand tells them."""
        found: dict[str, Array] = {}
        for name in ("cu_seq_lens_q", "cu_seq_lens_k"):
            cu = self.get(name)
            if cu is not None and cu.ndim == 1 and cu.size:
                found[name] = cu[:-1]
        if self.text_positions is not None:
            found["text positions"] = np.flatnonzero(self.text_positions == 0)
        if self.mrope is not None:
            found["mRoPE rows"] = np.flatnonzero((self.mrope == 0).all(axis=0))
        lengths = self.get("lengths")
        if lengths is not None:
            ends = np.cumsum(lengths.reshape(-1))
            found["lengths"] = np.concatenate(
                [[0], ends[:-1] if ends.size and ends[-1] >= (self.length or 0) else ends]
            )
        return found

    @cached_property
    def segments(self) -> Array:
        """Every first token that any tensor names, padding left out: where a context may begin anew."""
        if not self.starts:
            return np.zeros(0, dtype=np.int64)
        union = np.unique(np.concatenate([s.astype(np.int64) for s in self.starts.values()]))
        return union[(union >= 0) & (union < max(self.padding, 1))]


def _tail(flags: Array) -> int:
    """How many of the last entries are true."""
    stops = np.flatnonzero(~flags)
    return len(flags) - int(stops[-1]) - 1 if stops.size else len(flags)
