"""Auditing one training batch: as a pack, by the claims on packing, and as samples, by those on the template."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from msgspec.structs import replace

from coordexp_audit_lib.boundaries.packing.artifact import Array, PackedRow, Unpacked, of_tensors
from coordexp_audit_lib.boundaries.packing.artifact.reading import read
from coordexp_audit_lib.boundaries.packing.artifact.rows import Part
from coordexp_audit_lib.boundaries.packing.artifact.samples import REMEDY, numbered, of_json, of_row
from coordexp_audit_lib.boundaries.packing.predicates.positions import bounds
from coordexp_audit_lib.boundaries.packing.predicates.samples import placed
from coordexp_audit_lib.boundaries.template.artifact import BatchSamples, Span
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.evidence import Evidence
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import Artifact, judge_all
from coordexp_audit_lib.kit.profile import Profile


class AuditedBatch(NamedTuple):
    """The findings on a batch, the batch as it was read, and how: dtypes, shapes, names, what was not plain."""

    findings: list[Finding]
    row: PackedRow
    read: list[Evidence]

    @property
    def marks(self) -> dict[int, list[int]]:
        """By row, the tokens at which something is wrong, the weightiest first."""
        made: dict[int, list[int]] = {}
        for violation in (v for f in self.findings for v in f.violations):
            token = (violation.counterexample or {}).get("token")
            row = re.search(r"\(row (\d+)", violation.message)
            if token is not None:
                made.setdefault(int(row[1]) if row else 0, []).append(token)
        return made


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
        samples: the unpacked samples that it was made of (`read_samples`).
        config: what stands in the findings' `config`, where several batches are told apart.

    Raises:
        UsageError: none of the tensors is one of a batch.
    """
    made = of_tensors(tensors, packing_length, name, profile, label_shift, whole=whole)
    row: PackedRow = placed(made.subject, samples) if samples else made.subject
    made = replace(made, config=config, subject=row)
    found = judge_all(made, "packing")
    cut = batch_samples(row)
    if cut.samples:
        found += judge_all(Artifact(cut, name, config=config, evidence=made.evidence), "template")
    return AuditedBatch(found, row, made.evidence())


def read_samples(path: Path, profile: Profile | None = None) -> list[Unpacked]:
    """The unpacked samples of a file, in order: JSON lines or an array of objects, numbered tensors, or a batch that is
    not packed; or of a folder of such files, in the order of the numbers in their names.

    Raises:
        UsageError: it holds none, or can't be read.
    """
    if path.is_dir():
        found = [s for p in sorted(path.iterdir(), key=_by_number) for s in read_samples(p, profile)]
    elif path.suffix in (".json", ".jsonl", ".ndjson"):
        found = of_json(path)
    else:
        tensors = read(path, every=True)
        parts = numbered(tensors) or [tensors]
        found = [s for t in parts for s in of_row(of_tensors(t, None, path.name, profile).subject)]
    if not found:
        raise UsageError("holds no samples", where=str(path), remedy=REMEDY)
    return found


def _by_number(path: Path) -> tuple[list[int], str]:
    return [int(n) for n in re.findall(r"\d+", path.stem)], path.name


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
        for a, b in pairwise(starts):
            real = 0 if (ids[a:b] == row.profile.pad).all() else _real(part.row, a, ids[a:b])
            samples += [_span(part, a, a + real)] if real else []
            fillers += [_span(part, a + real, b)] if real < b - a else []
        fillers += [_span(part, end, ids.size)] if end < ids.size else []
    return BatchSamples(samples, fillers, row.profile, all(part.row.flat_mask is not None for part in row.parts))


def _span(part: Part, start: int, end: int) -> Span:
    ids, labels = part.row.flat("input_ids"), part.row.labels
    assert ids is not None
    own = None if labels is None or labels.size != ids.size else labels[start:end].copy()
    if own is not None and part.row.profile.label_shift and own[0] != ids[start]:
        own[0] = part.row.profile.ignore_index  # of the sample before it, whose last token its ids no longer have
    return Span(part.number, part.token(start), ids[start:end], own)


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


def _real(row: PackedRow, start: int, ids: Array) -> int:
    """How many of a place's tokens are the sample's own: fewer in padded THD, where one token fills up the rest."""
    cu, places = row.get("cu_seq_lens_q"), row.get("cu_seq_lens_padded")
    if places is None or cu is None or cu.shape != places.shape:
        return ids.size
    number = int(np.searchsorted(places, start))
    if number + 1 >= cu.size or places[number] != start:
        return ids.size
    real = int(cu[number + 1]) - int(cu[number])
    return real if 0 < real < ids.size and (ids[real:] == ids[-1]).all() else ids.size
