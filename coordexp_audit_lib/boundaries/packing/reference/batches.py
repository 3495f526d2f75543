"""The reference's own rendering of a Qwen3-VL chat sample, and its own packing. Checked against ms-swift in a test."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from coordexp_audit_lib.boundaries.packing.reference import plans
from coordexp_audit_lib.boundaries.packing.surfaces import (
    BATCH,
    ENCODE,
    Batch,
    BatchRequest,
    BatchResponse,
    Encoded,
    EncodeRequest,
    EncodeResponse,
    Sample,
)
from coordexp_audit_lib.core.surface import answers
from coordexp_audit_lib.kit import chat, mrope, picture
from coordexp_audit_lib.kit.profile import BUILT_IN

PROFILE = BUILT_IN["qwen3_vl"]
PAD, WIDTH = PROFILE.pad or 0, PROFILE.pixel_width or 0


@answers(ENCODE)
def encode(request: EncodeRequest) -> EncodeResponse:
    return EncodeResponse([encode_one(s) for s in request.samples])


@answers(BATCH)
def batch(request: BatchRequest) -> BatchResponse:
    encoded = [encode_one(s) for s in request.samples]
    packs = plans.packs([e.length for e in encoded], request.packing_length, request.path)
    return BatchResponse([collate(encoded, members, request.padding_to) for members in packs])


def encode_one(sample: Sample) -> Encoded:
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


def collate(encoded: Sequence[Encoded], members: list[int], padding_to: int = 0) -> Batch:
    """Pack samples one after the other into a row, as a Qwen3-VL trainer without attention mask wants it.

    Padding, if asked for, is end-of-text tokens at position 0, so that each is a segment of its own.
    """
    chosen = [encoded[m] for m in members]
    ids = [t for e in chosen for t in e.input_ids]
    labels = [t for e in chosen for t in e.labels]
    text = [p for e in chosen for p in range(e.length)]
    grid = [g for e in chosen for g in e.grid]
    ends = [i for i, p in enumerate(text) if p == 0] + [len(ids)]
    rest = max(0, padding_to - len(ids))
    rows = [[*r, *[0] * rest] for r in mrope.positions(ids, PROFILE, ends, images=grid).tolist()]
    ids, labels, text = ids + [PAD] * rest, labels + [PROFILE.ignore_index] * rest, text + [0] * rest
    cu = [i for i, p in enumerate(text) if p == 0] + [len(ids)]
    longest = max(b - a for a, b in pairwise(cu))
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
        shapes |= {"image_grid_thw": [len(grid), 3], "pixel_values": [len(pixel_rows), WIDTH]}
        dtypes |= {"image_grid_thw": "int64", "pixel_values": "float32"}
    return Batch(members=members, ints=ints, shapes=shapes, dtypes=dtypes, pixel_rows=pixel_rows if grid else None)
