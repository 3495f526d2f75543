"""Over an epoch each sample of the data set is trained on once, also where the run was resumed within it.

A sample that comes twice weighs twice, one that never comes is not learned, and neither shows in the loss. It happens
in a sampler of one's own, and on resuming: where the order is drawn anew and the first batches are skipped all the
same, some come again and others never. A sampler may mean it, so that this is told and stops nothing.

Example: 64 samples, resumed after 32 of them with another seed: 16 come twice and 16 never."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from coordexp_audit_lib.boundaries.packing.artifact import Array
from coordexp_audit_lib.boundaries.packing.cases import each_epoch
from coordexp_audit_lib.boundaries.packing.predicates import epochs
from coordexp_audit_lib.core.claim import artifact_claim
from coordexp_audit_lib.core.fault import spoil

epoch_once = artifact_claim(
    id="packing.epoch_once",
    doc=__doc__,
    severity="P2",
    remedy="Resume with the same seed, batch size and number of processes, and without `ignore_data_skip`; have a "
    "sampler give each index once.",
    on={epochs.Epoch: epochs.epoch_once},
    asks=each_epoch,
)


def _sound() -> epochs.Epoch:
    return epochs.Epoch(1, 8, np.ones(8, np.int64), whole=True, planned=8)


def _resumed() -> epochs.Epoch:
    return epochs.Epoch(1, 8, _marked(4, 8), before=_marked(0, 4).astype(bool), whole=True, planned=8)


def _marked(start: int, end: int) -> Array:
    made = np.zeros(8, np.int64)
    made[start:end] = 1
    return made


spoil(epoch_once, "sample_repeats", "the sampler gives two samples twice and two never", _sound)(
    lambda seen: replace(seen, counts=np.array([2, 2, 1, 1, 1, 1, 0, 0]))
)
spoil(epoch_once, "sample_left_out", "the sampler never gives the last sample", _sound)(
    lambda seen: replace(seen, counts=_marked(0, 7))
)
spoil(epoch_once, "resumed_in_another_order", "after resuming some come again and others never", _resumed)(
    lambda seen: replace(seen, counts=_marked(2, 6))
)
