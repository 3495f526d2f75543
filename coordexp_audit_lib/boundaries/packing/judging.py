"""From a packed batch as a target answers it to the predicates of `contract`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from coordexp_audit_lib.boundaries.packing import cases
from coordexp_audit_lib.boundaries.packing.contract import Alone, Problem, Undecided
from coordexp_audit_lib.boundaries.packing.row import PackedRow
from coordexp_audit_lib.boundaries.packing.surfaces import BATCH, ENCODE, Batch, Encoded, EncodeRequest
from coordexp_audit_lib.core.claim import Context
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.finding import Violation

Predicate = Callable[[PackedRow, list[Alone]], Iterator[Problem]]


def row_of(batch: Batch, lengths: list[int] | None = None) -> PackedRow:
    """The tensors of a batch as arrays; pixel rows stand as their digests."""
    tensors: dict[str, Any] = {
        n: np.array(v, dtype=batch.dtypes[n]) for n, v in batch.ints.items() if n in batch.dtypes
    }
    if batch.pixel_rows is not None:
        tensors["pixel_values"] = np.array(batch.pixel_rows)
    if lengths is not None:
        tensors["lengths"] = np.array(lengths, dtype=np.int64)
    return PackedRow(tensors)


def alone_of(encoded: Encoded) -> Alone:
    """One sample's own arrays."""
    grid = np.array(encoded.grid, dtype=np.int64).reshape(-1, 3)
    rows = np.array(encoded.pixel_rows, dtype="<U8")
    return Alone(np.array(encoded.input_ids), np.array(encoded.labels), grid, rows)


def judged(ctx: Context, predicate: Predicate) -> Iterator[Violation]:
    """Judge every batch of every case; a pipeline that lacks what the claim is about is unbound, not right."""
    tokens = images = 0
    for name, request in cases.batch_requests():
        if request.path == "post_rollout" and not _collates_rollouts(ctx):
            ctx.fact("not in this tree", "post-rollout packs")
            continue
        encoded = ctx.value(ENCODE, EncodeRequest(request.samples)).encoded
        batches = ctx.value(BATCH, request).batches
        if sorted(m for b in batches for m in b.members) != list(range(len(encoded))):
            yield Violation("the packs do not hold each sample once", name, len(encoded), [b.members for b in batches])
            continue
        for batch in batches:
            ctx.judged()
            lengths = [encoded[m].length for m in batch.members]
            row = row_of(batch, lengths)
            tokens, images = tokens + (row.length or 0), images + len(batch.ints.get("image_grid_thw", []))
            case = {"case": name, "members": batch.members, "lengths": lengths}
            try:
                for p in predicate(row, [alone_of(encoded[m]) for m in batch.members]):
                    text = p.message if p.token is None else f"{p.message} (token {p.token})"
                    yield Violation(text, name, p.expected, p.actual, {**case, "token": p.token})
            except Undecided as error:
                raise SurfaceUnbound(f"the packed batch can't tell: {error}", where=BATCH.name) from error
    ctx.fact("judged", f"{ctx.checked} packs with {tokens} tokens and {images} images")


def _collates_rollouts(ctx: Context) -> bool:
    drain = ctx.target.bindings().get("packing.drain")
    return drain is not None and drain.status in ("bound", "moved")
