"""Auditing one training batch: as a pack, by the claims on packing, and as samples, by those on the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from coordexp_audit_lib.boundaries.packing.artifact import Array, PackedRow, Unpacked, of_tensors
from coordexp_audit_lib.boundaries.packing.artifact.rows import Part
from coordexp_audit_lib.boundaries.packing.predicates.positions import bounds
from coordexp_audit_lib.boundaries.template.artifact import BatchSamples, Span
from coordexp_audit_lib.core.evidence import Evidence
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import Artifact, judge_all
from coordexp_audit_lib.kit.profile import Profile


class AuditedBatch(NamedTuple):
    """The findings on a batch, the batch as it was read, and how: dtypes, shapes, names, what was not plain."""

    findings: list[Finding]
    row: PackedRow
    read: list[Evidence]


def audit_batch(
    tensors: Mapping[str, Any],
    *,
    name: str = "batch",
    config: str | None = None,
    packing_length: int | None = None,
    profile: Profile | None = None,
    label_shift: int | None = None,
    samples: Sequence[Unpacked] = (),
    whole: bool = False,
) -> AuditedBatch:
    """Judge the tensors of a batch from any framework (`packing.artifact.of_tensors`).

    Args:
        config: what stands in the findings' `config`, where several batches are told apart.

    Raises:
        UsageError: none of the tensors is one of a batch.
    """
    made = of_tensors(tensors, packing_length, name, profile, label_shift, samples=samples, whole=whole)
    made = replace(made, config=config)
    row: PackedRow = made.subject
    found = judge_all(made, "packing")
    cut = batch_samples(row)
    if cut.samples:
        found += judge_all(Artifact(cut, name, config=config, evidence=made.evidence), "template")
    return AuditedBatch(found, row, made.evidence())


def batch_samples(row: PackedRow) -> BatchSamples:
    """The samples of a batch as its bounds cut them out, and what fills it up; none where there are no tokens."""
    samples: list[Span] = []
    fillers: list[Span] = []
    for part in row.parts:
        ids = part.row.flat("input_ids")
        if ids is None:
            continue
        fillers += _before(row, part)
        end = part.row.padding
        starts = bounds(part.row, end)
        for number, (a, b) in enumerate(pairwise(starts)):
            real = 0 if (ids[a:b] == row.profile.pad).all() else _real(part.row, number, ids[a:b])
            samples += [_span(part, a, a + real)] if real else []
            fillers += [_span(part, a + real, b)] if real < b - a else []
        fillers += [_span(part, end, ids.size)] if end < ids.size else []
    return BatchSamples(samples, fillers, row.profile)


def _span(part: Part, start: int, end: int) -> Span:
    ids, labels = part.row.flat("input_ids"), part.row.labels
    assert ids is not None
    own = None if labels is None or labels.size != ids.size else labels[start:end].copy()
    if own is not None and part.row.profile.label_shift and own[0] != ids[start]:
        own[0] = part.row.profile.ignore_index  # of the sample before it, whose last token its ids no longer have
    return Span(part.number, part.first + start, ids[start:end], own)


def _before(row: PackedRow, part: Part) -> list[Span]:
    """The pads before a row's tokens, with their labels as they stand."""
    ids, labels, weights = (row.get(n) for n in ("input_ids", "labels", "loss_mask"))
    if not part.first or ids is None:
        return []
    number, kept = part.number or 0, slice(0, part.first - row.profile.label_shift)
    own = np.atleast_2d(ids)[number, kept]
    if labels is None or labels.shape != ids.shape or weights is not None:
        return [Span(part.number, 0, own, None)]
    return [Span(part.number, 0, own, np.atleast_2d(labels)[number, kept])]


def _real(row: PackedRow, number: int, ids: Array) -> int:
    """How many of a place's tokens are the sample's own: fewer in padded THD, where one token fills up the rest."""
    cu, places = row.get("cu_seq_lens_q"), row.get("cu_seq_lens_padded")
    if places is None or cu is None or cu.shape != places.shape:
        return ids.size
    real = int(cu[number + 1]) - int(cu[number])
    return real if 0 < real < ids.size and (ids[real:] == ids[-1]).all() else ids.size
