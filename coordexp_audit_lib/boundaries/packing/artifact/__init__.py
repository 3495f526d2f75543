"""A packed batch as it lies in a file or in memory, from any framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from coordexp_audit_lib.boundaries.packing.artifact.dialects import translated
from coordexp_audit_lib.boundaries.packing.artifact.forms import (
    FORMS,
    NUMBERS_ALONE,
    TENSORS,
    Array,
    Form,
    Outline,
    Stray,
    flaws,
    stray,
)
from coordexp_audit_lib.boundaries.packing.artifact.names import Named, named
from coordexp_audit_lib.boundaries.packing.artifact.reading import from_bfloat16, read
from coordexp_audit_lib.boundaries.packing.artifact.row import PackedRow, Unpacked
from coordexp_audit_lib.boundaries.packing.artifact.rows import oriented
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.evidence import Evidence
from coordexp_audit_lib.core.judge import Artifact
from coordexp_audit_lib.kit.profile import Profile, of_batch


def packed(
    tensors: Mapping[str, Any],
    profile: Profile | None = None,
    packing_length: int | None = None,
    *,
    samples: Sequence[Unpacked] = (),
    whole: bool = False,
) -> PackedRow:
    """The tensors of a batch from anywhere, apart from those that cannot be judged. Unknown names are left out.

    A tensor of the wrong dtype, shape or values breaks `fields_aligned` and its own claim, and decides no other. An
    `Outline` stands for pixel rows. samples, whole: see `PackedRow`.
    """
    outlines = {n: t for n in TENSORS if isinstance(t := tensors.get(n), Outline)}
    there = [n for n in TENSORS if tensors.get(n) is not None]
    given = {n: outlines[n].array() if n in outlines else np.asarray(tensors[n]) for n in there}
    if "position_ids" in given:
        given["position_ids"] = oriented(given["position_ids"], given.get("input_ids"))
    profile = profile or of_batch(given)
    found = {n: next(flaws(n, a, profile.ignore_index, outlines.get(n)), None) for n, a in given.items()}
    wrong = {n: p for n, p in found.items() if p is not None}
    good = {n: a.reshape(()) if n in NUMBERS_ALONE else a for n, a in given.items() if n not in wrong}
    return PackedRow(good, profile, samples=samples, packing_length=packing_length, flaws=wrong, whole=whole)


def of_tensors(
    tensors: Mapping[str, Any],
    packing_length: int | None = None,
    name: str = "batch",
    profile: Profile | None = None,
    label_shift: int | None = None,
    *,
    samples: Sequence[Unpacked] = (),
    whole: bool = False,
) -> Artifact:
    """A batch for the judge, from any framework; as evidence the dtype and shape of each tensor, and how it was read.

    Args:
        tensors: arrays by the names of `TENSORS` (shapes: `PackedRow`) or of any framework (`names.ALIASES`).
        packing_length: the pack's capacity, where it is known. name: what the findings call the batch.
        label_shift: 0 where `labels[i]` is the token at i, 1 where it is the next one; by default as the tokens show
            it (`PackedRow.shown_shift`), and said so in the evidence.
        samples, whole: see `PackedRow`.

    Raises:
        UsageError: none of the tensors is there.
    """
    known, otherwise = translated(named(tensors, TENSORS))
    if all(t is None for t in known.tensors.values()):
        raise UsageError("holds no tensor of a packed batch", where=name, remedy=f"give any of {', '.join(TENSORS)}")
    there = known.tensors
    row = packed(there, profile, packing_length, samples=samples, whole=whole)
    shift = label_shift if label_shift is not None else row.shown_shift
    if shift != row.profile.label_shift:
        told = replace(row.profile, label_shift=shift)
        row = packed(there, told, packing_length, samples=samples, whole=whole)
    shapes = [Evidence("fact", symbol=n, value=f"{t.dtype} {list(t.shape)}") for n, t in there.items()]
    shapes += [
        Evidence("fact", symbol=what, value=how)
        for what, how in (_read_as(row, known, label_shift) | otherwise).items()
    ]
    return Artifact(row, name, evidence=lambda: shapes)


def _read_as(row: PackedRow, known: Named, label_shift: int | None) -> dict[str, str]:
    """How a batch was read, where that is not plain."""
    told = {}
    if known.renamed:
        told["names"] = ", ".join(f"{theirs} is {n}" for n, theirs in known.renamed.items())
    if known.unknown:
        told["not recognised, so not judged"] = ", ".join(known.unknown)
    if row.profile.label_shift and label_shift is None:
        told["labels are read as"] = (
            "shifted by one already, as they fit the next token: right where the trainer does not shift"
        )
    elif label_shift is None and row.fit == (0, 0):
        told["labels are read as"] = "unshifted; by the tokens they could be shifted too: say which with --labels"
    elif label_shift is None and row.fit is not None and all(row.fit):
        told["labels are read as"] = "unshifted, though they fit neither the token at their place nor the next one"
    if len(row.segments) > 1:
        told["samples are kept apart by"] = ", ".join(row.kept_apart_by) or "nothing that attention reads"
    if row.copied_temporal:
        told["the text row of position_ids"] = (
            "a copy of the temporal row: a varlen kernel that looks for zeros finds the samples in it; eager and sdpa "
            "attention, which look for steps other than one, do not"
        )
    return told


__all__ = [
    "FORMS",
    "TENSORS",
    "Array",
    "Form",
    "Outline",
    "PackedRow",
    "Stray",
    "Unpacked",
    "from_bfloat16",
    "of_tensors",
    "packed",
    "read",
    "stray",
]
