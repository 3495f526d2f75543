"""Two samples in one row for a tiny model, and the ways in which a model is called with them. Standard library only at
import time."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from coordexp_audit_lib.kit import mrope, tiny
from coordexp_audit_lib.kit.model import token_types
from coordexp_audit_lib.kit.profile import IGNORE_INDEX

CONTENTS = ("pictures", "text")
MASKS = ("none", "ones", "numbers", "block")
POSITIONS = ("none", "text", "three", "four", "copied")
SHAPES = ((1, 4, 4), (1, 4, 6))  # of the samples' pictures: time, height and width in patches


@dataclass(frozen=True)
class Row:
    """A row of samples: ids, labels [L], where the samples begin and the last one ends, grids [pictures, 3] and pixel
    rows (None in text), the text row [L] and the mRoPE rows [3, L], which start anew with each sample."""

    ids: Any
    labels: Any
    bounds: tuple[int, ...]
    grid: Any
    pixels: Any
    text: Any
    mrope: Any

    def only(self, at: int) -> Row:
        """One of the samples by itself."""
        a, b = self.bounds[at : at + 2]
        made = replace(self, ids=self.ids[a:b], labels=self.labels[a:b], bounds=(0, b - a))
        made = replace(made, text=self.text[a:b], mrope=self.mrope[:, a:b])
        if self.grid is None:
            return made
        rows = self.pixels.split(self.grid.prod(-1).tolist())
        return replace(made, grid=self.grid[at : at + 1], pixels=rows[at])


@lru_cache(maxsize=8)
def pack(family: str, content: str, first: int = 0) -> Row:
    """A row of two samples. first: 0 or 1, which of two that differ in every token and pixel comes first; the second is
    always the same."""
    import numpy as np
    import torch

    samples = [_sample(content, first, SHAPES[0], 4), _sample(content, 2, SHAPES[1], 5)]
    ids = np.concatenate([tokens for tokens, _ in samples])
    bounds = [0, *np.cumsum([len(tokens) for tokens, _ in samples]).tolist()]
    pictures = content == "pictures"
    grid = np.array(SHAPES) if pictures else None
    rows = mrope.positions(ids, tiny.profile(family), bounds, images=grid)
    labels = np.where(ids < tiny.START, ids, IGNORE_INDEX)
    labels[bounds[:-1]] = IGNORE_INDEX
    text = np.concatenate([np.arange(b - a) for a, b in itertools.pairwise(bounds)])
    pixels = np.concatenate([p for _, p in samples]) if pictures else None
    made = [None if a is None else torch.from_numpy(a) for a in (ids, labels, grid, pixels, text, rows)]
    return Row(made[0], made[1], tuple(bounds), *made[2:])


def _sample(content: str, number: int, shape: tuple[int, int, int], words: int) -> tuple[Any, Any]:
    """Ids, and the rows of its picture, which stands in the middle."""
    import numpy as np

    source = np.random.default_rng(number)
    text = source.permutation(np.arange(3, tiny.START))[: 2 * words]
    cells = shape[0] * shape[1] * shape[2]
    pixels = source.standard_normal((cells, tiny.PIXEL_WIDTH)).astype(np.float32)
    pads = [tiny.START, *[tiny.IMAGE] * (cells // 4), tiny.END] if content == "pictures" else []
    return np.concatenate([text[:words], pads, text[words:]]).astype(np.int64), pixels


def arguments(model: Any, row: Row, *, mask: str, positions: str, cache: bool | None, told: bool) -> dict[str, Any]:
    """What a model is called with. mask, positions: of `MASKS` and `POSITIONS`. cache: `use_cache`, None for not a word
    of it. told: whether `cu_seq_lens_q` and its companions tell the bounds."""
    import torch

    ids = row.ids[None]
    made = {"input_ids": ids, "labels": row.labels[None], "use_cache": cache}
    made |= {"position_ids": _positions(row, positions), "attention_mask": _mask(row, mask)}
    if row.grid is not None:
        made |= {"image_grid_thw": row.grid, "pixel_values": row.pixels}
    made |= token_types(model.forward, ids, tiny.IMAGE, tiny.VIDEO)
    if told:
        cu, longest = torch.tensor(row.bounds, dtype=torch.int32), max(b - a for a, b in itertools.pairwise(row.bounds))
        made |= {"cu_seq_lens_q": cu, "cu_seq_lens_k": cu, "max_length_q": longest, "max_length_k": longest}
    return {name: value for name, value in made.items() if value is not None}


def _positions(row: Row, kind: str) -> Any:
    """`position_ids`: `text` [1, L], `three` mRoPE rows [3, 1, L], `four` with the text row first [4, 1, L], `copied`
    with the temporal row twice [4, 1, L], or none."""
    import torch

    if kind == "text":
        return row.text[None]
    first = {"three": [], "four": [row.text[None]], "copied": [row.mrope[:1]]}.get(kind)
    return None if first is None else torch.cat([*first, row.mrope])[:, None]


def _mask(row: Row, kind: str) -> Any:
    """`attention_mask`: `ones` [1, L], `numbers` of the samples from 1 on [1, L], `block` [1, 1, L, L], which is added
    to the logits, or none."""
    import torch

    size = len(row.ids)
    numbers = torch.bucketize(torch.arange(size), torch.tensor(row.bounds[1:]), right=True) + 1
    seen = (numbers[:, None] == numbers) & torch.ones(size, size, dtype=torch.bool).tril()
    added = torch.zeros(size, size).masked_fill(~seen, torch.finfo(torch.float32).min)
    return {"ones": torch.ones_like(numbers)[None], "numbers": numbers[None], "block": added[None, None]}.get(kind)
