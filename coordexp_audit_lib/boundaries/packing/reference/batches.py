"""The reference's own rendering of a Qwen3-VL chat sample, and its own packing. Checked against ms-swift in a test."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from coordexp_audit_lib.boundaries.packing import surfaces as s
from coordexp_audit_lib.boundaries.packing.reference import plans
from coordexp_audit_lib.core.surface import answers
from coordexp_audit_lib.kit import chat, mrope, picture
from coordexp_audit_lib.kit.profile import QWEN3_VL

PROFILE = QWEN3_VL
PAD, WIDTH = PROFILE.pad or 0, PROFILE.pixel_width or 0


@answers(s.ENCODE)
def encode(request: s.EncodeRequest) -> s.EncodeResponse:
    return s.EncodeResponse([encode_one(one) for one in request.samples])


@answers(s.BATCH)
def batch(request: s.BatchRequest) -> s.BatchResponse:
    encoded = [encode_one(one) for one in request.samples]
    packs = plans.packs([e.length for e in encoded], request.packing_length, request.path)
    return s.BatchResponse([collate(encoded, members, request.padding_to) for members in packs])


@answers(s.JOIN)
def join(request: s.JoinRequest) -> s.BatchResponse:
    encoded = [encode_one(one) for one in request.samples]
    return s.BatchResponse([collate(encoded, list(range(len(encoded))))])


def encode_one(sample: s.Sample) -> s.Encoded:
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
    return s.Encoded(input_ids=ids, labels=labels, length=len(ids), grid=grids, pixel_rows=rows)


def collate(encoded: Sequence[s.Encoded], members: list[int], padding_to: int = 0) -> s.Batch:
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
    ints: dict[str, Any] = {"input_ids": [ids], "labels": [labels], "text_position_ids": [text]}
    ints |= {"position_ids": [[r] for r in rows], "cu_seq_lens_q": cu, "cu_seq_lens_k": cu}
    ints |= {"max_length_q": longest, "max_length_k": longest}
    ints |= {"image_grid_thw": grid} if grid else {}
    shapes = {name: list(np.shape(value)) for name, value in ints.items()}
    dtypes = {name: "int32" if name.startswith(("cu_", "max_")) else "int64" for name in ints}
    if grid:
        shapes["pixel_values"], dtypes["pixel_values"] = [len(pixel_rows), WIDTH], "float32"
    return s.Batch(members=members, ints=ints, shapes=shapes, dtypes=dtypes, pixel_rows=pixel_rows if grid else None)
