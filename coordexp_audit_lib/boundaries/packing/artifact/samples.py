"""The unpacked samples that a batch was made of, from a file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from coordexp_audit_lib.boundaries.packing.artifact.forms import Array
from coordexp_audit_lib.boundaries.packing.artifact.row import PackedRow, Unpacked
from coordexp_audit_lib.boundaries.packing.artifact.rows import VISION, shares
from coordexp_audit_lib.core.errors import UsageError

GRIDS = tuple(grid for grid, _ in VISION.values())
NUMBERED = re.compile(r"\D*(\d+)[./]([A-Za-z_]\w*)")
REMEDY = (
    "write one JSON object a line with input_ids and labels, or tensors called 0.input_ids, 0.labels, 1.input_ids …"
)


def of_json(path: Path) -> list[Unpacked]:
    """The samples of JSON lines or of a JSON array: objects with `input_ids`, and `labels`, `image_grid_thw` and
    `video_grid_thw` where they are known.

    Raises:
        UsageError: it can't be read, or an object has no row of numbers as `input_ids`.
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
        records = json.loads(text) if text.startswith("[") else [json.loads(x) for x in text.splitlines() if x.strip()]
    except (OSError, ValueError) as error:
        raise UsageError(f"can't be read as JSON: {error}", where=str(path), remedy=REMEDY) from error
    return [_of_record(r, f"{path}, sample {n}") for n, r in enumerate(records)]


def _of_record(record: Any, where: str) -> Unpacked:
    if not isinstance(record, Mapping) or "input_ids" not in record:
        raise UsageError("has no input_ids", where=where, remedy=REMEDY)
    try:
        ids, labels = (_row(record.get(n)) for n in ("input_ids", "labels"))
        grids = [np.asarray(record.get(n) or [], np.int64).reshape(-1, 3) for n in GRIDS]
    except (TypeError, ValueError) as error:
        raise UsageError(f"holds what are no numbers: {error}", where=where, remedy=REMEDY) from error
    told = any(n in record for n in GRIDS)
    return Unpacked(ids, labels, grids[0] if told else None, None, grids[1] if told else None, None)


def _row(values: Any) -> Array | None:
    return None if values is None else np.asarray(values, np.int64).reshape(-1)


def numbered(tensors: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tensors of each sample, where their names begin with its number (`3.labels`); else none."""
    each: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        match = NUMBERED.fullmatch(name)
        if match is None:
            return []
        each.setdefault(int(match[1]), {})[match[2]] = tensor
    return [each[n] for n in sorted(each)]


def of_row(row: PackedRow) -> list[Unpacked]:
    """The samples of a batch that is not packed, one a row, or cut at its bounds.

    Raises:
        UsageError: it holds no tokens.
    """
    ids: list[Array] = []
    labels: list[Array | None] = []
    for part in row.parts:
        own, theirs, end = part.row.flat("input_ids"), part.row.labels, part.row.padding
        if own is None:
            raise UsageError("holds no input_ids", where="--samples", remedy=REMEDY)
        starts = sorted({0, *(int(s) for s in part.row.segments if s < end)})
        for start, stop in pairwise([*starts, end]):
            ids.append(own[start:stop])
            labels.append(None if theirs is None else theirs[start:stop])
    each = shares(row, ids)
    if not each:  # nothing tells whose the pictures are
        return [Unpacked(i, y, None, None) for i, y in zip(ids, labels, strict=True)]
    pictures = [(*_pictures(of, "image"), *_pictures(of, "video")) for of in each]
    return [Unpacked(i, y, *p) for i, y, p in zip(ids, labels, pictures, strict=True)]


def _pictures(of: Mapping[str, Array], what: str) -> tuple[Array, Array | None]:
    """Grid and pixel rows of a sample's images, or of its videos."""
    grid_name, pixel_name = VISION[what]
    if grid_name not in of:
        return np.zeros((0, 3), np.int64), np.zeros((0, 0), np.float32)
    return of[grid_name], of.get(pixel_name)
