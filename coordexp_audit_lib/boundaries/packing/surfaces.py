"""The questions of the packing boundary, with their input and output."""

from __future__ import annotations

from typing import Any

import msgspec

from coordexp_audit_lib.core.surface import surface


class PlanRequest(msgspec.Struct, frozen=True):
    """Pack a dataset of these sample lengths before training (static packing).

    min_fill_ratio: share of `packing_length` below which a pack counts as underfilled. drop_last: drop what is
    underfilled. world_size: ranks. dataloader_drop_last: cut the plan to a multiple of the ranks instead of repeating
    packs. repeat: asks the same again.
    """

    lengths: list[int]
    packing_length: int
    min_fill_ratio: float = 0.65
    drop_last: bool = False
    allow_single_long: bool = True
    world_size: int = 1
    dataloader_drop_last: bool = False
    repeat: int = 0


class Plan(msgspec.Struct, frozen=True):
    """packs: the plan, as sample indices. aligned: what each rank's dataset holds. ranks: which of `aligned` each
    rank's sampler yields, unshuffled. rank_digests: of each rank's own copy of the plan. repeated: packs appended for
    alignment. single_long, skipped_long, dropped: counts that the pipeline keeps; null where it keeps none.
    """

    packs: list[list[int]]
    aligned: list[list[int]]
    ranks: list[list[int]]
    rank_digests: list[str]
    repeated: list[int]
    single_long: int | None
    skipped_long: int | None
    dropped: int | None = None


class StreamRequest(msgspec.Struct, frozen=True):
    """Pack while iterating (dynamic packing) with a buffer of `buffer_size` samples. Fields as in `PlanRequest`."""

    lengths: list[int]
    packing_length: int
    buffer_size: int
    min_fill_ratio: float = 0.65
    drop_last: bool = False
    allow_single_long: bool = True
    repeat: int = 0


class Stream(msgspec.Struct, frozen=True):
    """packs: in order of emission, as sample indices. Counts as in `Plan`."""

    packs: list[list[int]]
    single_long: int | None
    skipped_long: int | None
    dropped: int | None = None


class SelectRequest(msgspec.Struct, frozen=True):
    """For each list of buffered segment lengths, oldest first: which go into the next pack?

    min_fill_ratio: the trainer's own setting (`training.packing_min_fill_ratio`), for a selection that asks for it.
    """

    buffers: list[list[int]]
    packing_length: int
    min_fill_ratio: float = 0.5


class Select(msgspec.Struct, frozen=True):
    """chosen: indices into each buffer."""

    chosen: list[list[int]]


class DrainRequest(msgspec.Struct, frozen=True):
    """Append segments of these lengths to the post-rollout buffer, then take packs until it is empty.

    buffer_cap: `packing_buffer`, 0 for none.
    """

    lengths: list[int]
    packing_length: int
    buffer_cap: int = 0
    repeat: int = 0


class Drain(msgspec.Struct, frozen=True):
    """packs: in the order taken, as indices of the appended segments."""

    packs: list[list[int]]


class Picture(msgspec.Struct, frozen=True):
    """An image to generate (`parts.picture`): its size in pixels, multiples of 32, and the number it is made from."""

    width: int
    height: int
    number: int


class Sample(msgspec.Struct, frozen=True):
    """A chat sample: (role, text) turns; each `<image>` in a text stands for the next picture."""

    turns: list[tuple[str, str]]
    pictures: list[Picture] = []


class EncodeRequest(msgspec.Struct, frozen=True):
    """Encode each sample alone, for training."""

    samples: list[Sample]


class Encoded(msgspec.Struct, frozen=True):
    """One sample alone. labels: unshifted, −100 where ignored. grid: [images, 3]. pixel_rows: a digest of each."""

    input_ids: list[int]
    labels: list[int]
    length: int
    grid: list[list[int]] = []
    pixel_rows: list[str] = []


class EncodeResponse(msgspec.Struct, frozen=True):
    encoded: list[Encoded]


class BatchRequest(msgspec.Struct, frozen=True):
    """Encode samples, pack them, and collate each pack into a training batch.

    path: `dataset` (the dataset wrapper for packing, then the project's collator) or `post_rollout` (the segments as
    the trainer collates them). padding_to: pad the batch to this many tokens; 0 for no padding.
    """

    samples: list[Sample]
    packing_length: int
    path: str = "dataset"
    padding_to: int = 0


class Batch(msgspec.Struct, frozen=True):
    """One packed batch. members: the samples in it, in order. ints: each integer tensor, nested as it is. shapes,
    dtypes: of every tensor. pixel_rows: a digest of each row of `pixel_values`."""

    members: list[int]
    ints: dict[str, Any]
    shapes: dict[str, list[int]]
    dtypes: dict[str, str]
    pixel_rows: list[str] | None = None


class BatchResponse(msgspec.Struct, frozen=True):
    batches: list[Batch]


PLAN = surface("packing.plan", PlanRequest, Plan, "The static packing plan of a dataset, and each rank's share of it.")
STREAM = surface("packing.stream", StreamRequest, Stream, "The packs that dynamic packing emits.")
SELECT = surface("packing.select", SelectRequest, Select, "Which buffered rollout segments go into the next pack.")
DRAIN = surface("packing.drain", DrainRequest, Drain, "The packs that the post-rollout buffer gives until it is empty.")
ENCODE = surface("packing.encode", EncodeRequest, EncodeResponse, "Chat samples encoded one by one.")
BATCH = surface("packing.batch", BatchRequest, BatchResponse, "Chat samples packed and collated for training.")
