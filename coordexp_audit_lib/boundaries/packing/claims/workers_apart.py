"""Each worker of a data loader draws random numbers of its own, and has a part of a stream of its own.

Workers that begin with one state augment, mask and shuffle alike, so that an epoch holds fewer different samples than
it counts; workers that each read a whole stream train on every sample as often as there are workers. Programs may mean
it, so that this is told and stops nothing.

Example: a `worker_init_fn` that calls `np.random.seed(42)`; an `IterableDataset` that does not ask
`get_worker_info()`."""

from __future__ import annotations

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.packing.cases import each_worker
from coordexp_audit_lib.boundaries.packing.predicates import epochs
from coordexp_audit_lib.core.claim import artifact_claim
from coordexp_audit_lib.core.fault import spoil

workers_apart = artifact_claim(
    id="packing.workers_apart",
    doc=__doc__,
    severity="P2",
    remedy="Seed each worker from `torch.initial_seed()`, and split a stream by `torch.utils.data.get_worker_info()`.",
    on={epochs.Workers: epochs.workers_apart},
    asks=each_worker,
)


def _sound() -> epochs.Workers:
    return epochs.Workers({"numpy": {0: "a", 1: "b"}, "torch": {0: "c", 1: "d"}}, {0: ["x", "y"], 1: ["z", "w"]})


spoil(workers_apart, "one_seed", "NumPy is seeded alike in both workers", _sound)(
    lambda seen: replace(seen, states={**seen.states, "numpy": {0: "a", 1: "a"}})
)
spoil(workers_apart, "stream_not_split", "both workers read the whole stream", _sound)(
    lambda seen: replace(seen, rows={0: ["x", "y"], 1: ["x", "y"]})
)
