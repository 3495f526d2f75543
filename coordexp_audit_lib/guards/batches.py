"""Guards for what is fed to the model: dataset records and packed batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coordexp_audit_lib.boundaries.geometry.predicates.records import Ordering, Record, Space
from coordexp_audit_lib.boundaries.packing.artifact import packed
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.guards.memory import arrays
from coordexp_audit_lib.guards.stopping import judge_live, stop_at
from coordexp_audit_lib.kit.profile import Profile, named

WHATEVER_IT_IS, LAST = {"packing.capacity"}, {"packing.fields_aligned"}


def check_record(record: Any, space: Space = "bins", ordering: Ordering = "random") -> None:
    """A dataset record keeps the contract: images, size, and objects with one geometry each, in range and in order.

    Args:
        space: what its coordinates are: bins (tokens or ints in 0..999), or pixels. ordering: `sorted` also demands
            that objects stand in top-left order.

    Raises:
        InvariantViolation: it does not; `where` is the path within the record.
    """
    for verdict in judge_live(Record(record, space, ordering), "geometry"):
        stop_at(verdict, fallback="record")


def check_packed_batch(
    batch: Mapping[str, Any], packing_length: int | None = None, profile: Profile | str | None = None
) -> list[str]:
    """A packed batch keeps its samples apart: fields aligned, positions restart, labels unshifted, images in order.

    Args:
        batch: tensors of torch or NumPy by name; any of `packing.artifact.TENSORS`, others are left alone. How they are
            read, on the CPU and on devices: `guards.memory`.
        packing_length: the pack's capacity in tokens; without it, it is not judged.
        profile: of the model's family, or its name (`kit.profile.named`); without it, what the batch itself shows.

    Returns:
        The claims that the tensors decide, if only in part.

    Raises:
        InvariantViolation: a claim is broken; the message says at which token.
        UsageError: the tensors decide no claim, or none but the capacity, which is not about packs alone; or one can't
            be read.
    """
    decided = judge_batch(batch, packing_length, profile)
    if not set(decided) - WHATEVER_IT_IS:
        remedy = "pass input_ids, labels and position_ids of one packed row, with cu_seq_lens_q if there is one"
        raise UsageError("its tensors decide no claim on packing", where="batch", remedy=remedy)
    return decided


def judge_batch(
    batch: Mapping[str, Any], packing_length: int | None = None, profile: Profile | str | None = None
) -> list[str]:
    """As `check_packed_batch`; an empty list where the batch is none of one packed row."""
    row = packed(arrays(batch), named(profile) if isinstance(profile, str) else profile, packing_length)
    verdicts = judge_live(row, "packing")
    # That fields disagree comes last, for it is seldom the cause.
    verdicts.sort(key=lambda v: v.finding.invariant in LAST)
    broken = [v.finding.invariant for v in verdicts if v.first is not None]
    for verdict in sorted(verdicts, key=lambda v: v.first is None):
        stop_at(verdict, "batch", also=broken[1:])
    return [v.finding.invariant for v in verdicts if v.finding.checked]
