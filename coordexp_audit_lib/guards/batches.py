"""Guards for what is fed to the model: dataset records and packed batches."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from coordexp_audit_lib.boundaries.geometry.predicates.records import Ordering, Record, Space
from coordexp_audit_lib.boundaries.packing.artifact import TENSORS, PackedRow, packed
from coordexp_audit_lib.boundaries.packing.artifact.names import SEEN
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.guards.features import PIXELS, Feature, compared
from coordexp_audit_lib.guards.memory import arrays
from coordexp_audit_lib.guards.stopping import claim_of, judge_live, judged, stop_at
from coordexp_audit_lib.kit.profile import Profile, named

WHOLE = "packing.each_once"
STRANGERS = (
    "a batch holds none of the samples that it was collated from: it was made of others, or its collator changes the "
    "tokens of all; whether one is lost, doubled or cut can't be judged"
)
WHATEVER_IT_IS, FIRST, LAST = {"packing.capacity", WHOLE}, {WHOLE}, {"packing.fields_aligned"}


Tell = Callable[[str], None]


def warn(what: str) -> None:
    """Tell of what may be meant, where a guard is called."""
    warnings.warn(what, stacklevel=4)


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
    batch: Mapping[str, Any],
    packing_length: int | None = None,
    profile: Profile | str | None = None,
    *,
    features: Sequence[Feature] = (),
    tell: Tell = warn,
) -> list[str]:
    """A packed batch keeps its samples apart: fields aligned, positions restart, labels unshifted, images in order.

    Args:
        batch: tensors of torch or NumPy by name; any of `packing.artifact.TENSORS`, others are left alone. How they are
            read, on the CPU and on devices: `guards.memory`.
        packing_length: the pack's capacity in tokens; without it, it is not judged.
        profile: of the model's family, or its name (`kit.profile.named`); without it, what the batch itself shows.
        features: what it was collated from (`guards.features.read_features`): each must be there once, whole, with its
            own labels and pictures, and the positions must restart where it begins.
        tell: is told where it holds none of them, which a collator that changes the tokens of all may mean.

    Returns:
        The claims that the tensors decide, if only in part.

    Raises:
        InvariantViolation: a claim is broken; the message says at which token.
        UsageError: the tensors decide no claim, or none but the capacity, which is not about packs alone; or one can't
            be read.
    """
    row, strangers = _row(batch, packing_length, profile, features)
    decided = _told(_decided(row), strangers, features, tell)
    if not set(decided) - WHATEVER_IT_IS:
        remedy = "pass input_ids, labels and position_ids of one packed row, with cu_seq_lens_q if there is one"
        raise UsageError("its tensors decide no claim on packing", where="batch", remedy=remedy)
    return decided


def judge_batch(
    batch: Mapping[str, Any],
    packing_length: int | None = None,
    profile: Profile | str | None = None,
    *,
    features: Sequence[Feature] = (),
    tell: Tell = warn,
) -> list[str]:
    """As `check_packed_batch`, where the batch is a pack. Of any other it judges only that no sample is missing; an
    empty list where that can't be told either."""
    row, strangers = _row(batch, packing_length, profile, features)
    if row.is_pack:
        return _told(_decided(row), strangers, features, tell)
    if not row.samples:
        return _told([], strangers, features, tell)
    verdict = judged(claim_of(WHOLE), row)
    stop_at(verdict, "batch")
    return _told([WHOLE] if verdict.finding.checked else [], True, features, tell)


def _told(decided: list[str], strangers: bool, features: Sequence[Feature], tell: Tell) -> list[str]:
    """What was decided. Where the batch's samples could not be compared with its features, that is told."""
    if strangers and features and WHOLE not in decided:
        tell(STRANGERS)
    return decided


def _row(
    batch: Mapping[str, Any], packing_length: int | None, profile: Profile | str | None, features: Sequence[Feature]
) -> tuple[PackedRow, bool]:
    """The batch to be judged, and whether none of its features stands in it."""
    given, meant = arrays(batch), named(profile) if isinstance(profile, str) else profile
    own = compared(batch, given, features)
    # A tensor of another name may tell attention what these do not.
    whole = not set(batch) - {*TENSORS, *SEEN}
    lengths = {} if own.lengths is None or "lengths" in given else {"lengths": own.lengths}
    row = packed({**given, **lengths}, meant, packing_length, samples=own.samples, whole=whole)
    if own.pixels is not None and PIXELS in row.tensors:
        row.tensors[PIXELS] = own.pixels  # judged as a whole by now
    return row, own.strangers


def _decided(row: PackedRow) -> list[str]:
    verdicts = judge_live(row, "packing")
    # A lost sample is the cause of much else; that fields disagree comes last, for it is seldom the cause.
    verdicts.sort(key=lambda v: (v.finding.invariant not in FIRST, v.finding.invariant in LAST))
    broken = [v.finding.invariant for v in verdicts if v.first is not None]
    for verdict in sorted(verdicts, key=lambda v: v.first is None):
        stop_at(verdict, "batch", also=broken[1:])
    return [v.finding.invariant for v in verdicts if v.finding.checked]
