"""The reference's own rendering of a Qwen3-VL chat sample, and its own packing. Checked against ms-swift in a test."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from coordexp_audit_lib.boundaries.packing.row import IGNORE_INDEX
from coordexp_audit_lib.boundaries.packing.surfaces import Batch, Encoded, Sample
from coordexp_audit_lib.kit import chat, picture, tokenizer


def encode_alone(sample: Sample) -> Encoded:
    """Tokens, unshifted labels, grids and pixel rows of one sample.

    Raises:
        Refuse: a role is unknown, or slots and pictures do not match in number.
    """
    grids, rows = [], []
    for p in sample.pictures:
        grid, pixel_rows = picture.patches(picture.pixels(p.number, p.width, p.height))
        grids.append(grid)
        rows += picture.row_digests(pixel_rows)
    ids, labels = chat.render(sample.turns, grids)
    return Encoded(input_ids=ids, labels=labels, length=len(ids), grid=grids, pixel_rows=rows)


def mrope(encoded: Encoded) -> list[list[int]]:
    """Temporal, height and width positions [3, n] of one sample.

    Text counts in all three rows alike. An image that begins at position s keeps T = s and has H = s + row and
    W = s + column on its merged grid; text goes on at s + max(rows, columns).
    """
    found: list[list[int]] = [[], [], []]
    at, i, grids = 0, 0, iter(encoded.grid)
    while i < len(encoded.input_ids):
        if encoded.input_ids[i] != tokenizer.IMAGE_PAD:
            for r in found:
                r.append(at)
            at, i = at + 1, i + 1
            continue
        _, h, w = next(grids)
        rows, columns = h // picture.MERGE, w // picture.MERGE
        for cell in range(rows * columns):
            for r, offset in zip(found, (0, cell // columns, cell % columns), strict=True):
                r.append(at + offset)
        at, i = at + max(rows, columns), i + rows * columns
    return found


def collate(encoded: Sequence[Encoded], members: list[int], padding_to: int = 0) -> Batch:
    """Pack samples one after the other into a row, as a Qwen3-VL trainer without attention mask wants it.

    Padding, if asked for, is end-of-text tokens at position 0, so that each is a segment of its own.
    """
    chosen = [encoded[m] for m in members]
    ids = [t for e in chosen for t in e.input_ids]
    labels = [t for e in chosen for t in e.labels]
    text = [p for e in chosen for p in range(e.length)]
    rows = [[p for e in chosen for p in mrope(e)[r]] for r in range(3)]
    rest = max(0, padding_to - len(ids))
    ids, labels, text = ids + [tokenizer.ENDOFTEXT] * rest, labels + [IGNORE_INDEX] * rest, text + [0] * rest
    rows = [r + [0] * rest for r in rows]
    cu = [i for i, p in enumerate(text) if p == 0] + [len(ids)]
    longest = max(b - a for a, b in pairwise(cu))
    grid = [g for e in chosen for g in e.grid]
    pixel_rows = [r for e in chosen for r in e.pixel_rows]
    ints: dict[str, Any] = {
        "input_ids": [ids],
        "labels": [labels],
        "text_position_ids": [text],
        "position_ids": [[r] for r in rows],
        "cu_seq_lens_q": cu,
        "cu_seq_lens_k": cu,
        "max_length_q": longest,
        "max_length_k": longest,
    }
    n = len(ids)
    shapes: dict[str, list[int]] = {
        "input_ids": [1, n],
        "labels": [1, n],
        "text_position_ids": [1, n],
        "position_ids": [3, 1, n],
    }
    shapes |= {"cu_seq_lens_q": [len(cu)], "cu_seq_lens_k": [len(cu)], "max_length_q": [], "max_length_k": []}
    dtypes = {name: "int32" if name.startswith(("cu_", "max_")) else "int64" for name in shapes}
    if grid:
        ints["image_grid_thw"] = grid
        shapes |= {"image_grid_thw": [len(grid), 3], "pixel_values": [len(pixel_rows), 1536]}
        dtypes |= {"image_grid_thw": "int64", "pixel_values": "float32"}
    return Batch(members=members, ints=ints, shapes=shapes, dtypes=dtypes, pixel_rows=pixel_rows if grid else None)
