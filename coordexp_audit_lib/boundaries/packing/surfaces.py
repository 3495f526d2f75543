"""The questions of the packing boundary, with their input and output."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from coordexp_audit_lib.core.short_run import ShortRun
from coordexp_audit_lib.core.surface import surface

Attention = Literal["varlen", "sdpa"]


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
    """Encode each sample by itself, for training."""

    samples: list[Sample]


class Encoded(msgspec.Struct, frozen=True):
    """One sample, unpacked. labels: unshifted, −100 where ignored. grid: [images, 3]. pixel_rows: a digest of each."""

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


class JoinRequest(msgspec.Struct, frozen=True):
    """Encode samples, and join them into one row without padding as a trainer does by itself, past the dataset's and
    the rollouts' packing. Either every sample has pictures or none has."""

    samples: list[Sample]


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


class ForwardRequest(msgspec.Struct, frozen=True):
    """Pack samples, run each pack and each sample unpacked through a small Qwen3-VL as the trainer does.

    path: as in `BatchRequest`. attention: `varlen`, a kernel that is told the segments by `cu_seq_lens`, as packed
    training uses; or `sdpa`, which reads them from the text positions. by_token: measure token by token, too.
    """

    samples: list[Sample]
    packing_length: int
    path: str = "dataset"
    attention: Attention = "varlen"
    by_token: bool = False


class Loss(msgspec.Struct, frozen=True):
    """The trainer's loss of one row, and how many tokens it supervises (rows of the logits with a gradient).

    shift: 0 or 2 where the loss clearly compares each row of the logits with the label of the same token or of the next
    but one; else None, which says nothing.
    """

    loss: float
    supervised: int
    shift: int | None = None


class Pack(msgspec.Struct, frozen=True):
    """What was measured of one pack of S segments.

    keys: the model's keyword arguments that held something. position_rows: of `position_ids`: 4 with a text row, 3
    mRoPE rows, 1 for [B, L], 0 for none. differences: of each segment, max |logit in the pack − logit unpacked|.
    largest_logit: the largest magnitude. influence: [S][S]; of row i and column j, max |d loss_i / d embedding| over
    segment j. tokens: [L][L] if asked for; of row i and column j, the decade (`parts.influence.decade`) of the gradient
    of the largest logit at token i with respect to the embedding of token j. called: `input_ids`, `position_ids` and
    `image_grid_thw` as the model got them; those that it did not get are not there.
    """

    members: list[int]
    lengths: list[int]
    keys: list[str]
    position_rows: int
    use_cache: bool
    differences: list[float]
    largest_logit: float
    influence: list[list[float]]
    loss: float
    supervised: int
    unpacked: list[Loss]
    tokens: list[list[int]] = []
    called: dict[str, Any] = {}


class Forward(msgspec.Struct, frozen=True):
    """sdpa_accepted: whether the pipeline lets packed training run without a variable-length kernel."""

    packs: list[Pack]
    sdpa_accepted: bool


class StepRequest(msgspec.Struct, frozen=True):
    """One optimizer step of a trainer that packs what it trains on: its loss, cross-entropy on text alone.

    objects: how many objects each sample has. packing_length: tokens that a pack holds. channel: `A` trains on the
    ground truth, `B` on rollouts, each of which found what is there.
    """

    objects: list[int]
    packing_length: int
    channel: Literal["A", "B"]


class Step(msgspec.Struct, frozen=True):
    """packs: how many samples each pack had. loss: of the whole step, as its gradient is."""

    packs: list[int]
    loss: float


class CheckRequest(msgspec.Struct, frozen=True):
    """Give a trainer this batch as its `turn`-th, after as many sound ones, and let it check it before the forward.

    batch: integer tensors, shapes and dtypes as in `Batch`; pixel rows hold zeros. sound: the batch before it came to
    be broken. vocabulary: of the model.
    """

    batch: Batch
    sound: Batch
    turn: int
    vocabulary: int


class Accepted(msgspec.Struct, frozen=True):
    """The trainer went on to the forward."""

    accepted: bool = True


class EvalRequest(msgspec.Struct, frozen=True):
    """training: the config's `training` section, laid over that of `config` (path in the tree) if one is named."""

    training: dict[str, Any] = {}
    config: str = ""


class EvalPlan(msgspec.Struct, frozen=True):
    """packing, eval_packing: as the pipeline reads them. asked: what the config itself says, null where it is silent.

    rollout: the variant's evaluation generates, and no dataset of it is packed.
    """

    packing: bool
    eval_packing: bool
    asked: bool | None
    variant: str
    rollout: bool


class Allowed(msgspec.Struct, frozen=True):
    """The launcher's policy let the config through."""

    allowed: bool = True


class LoaderWorkers(msgspec.Struct, frozen=True):
    """The workers of one data loader as they began, by number. states: of each source of random numbers. rows: of a
    stream, digests of the first samples."""

    states: dict[str, list[str]]
    rows: list[list[str]] = []


class EpochRun(msgspec.Struct, frozen=True):
    """`kit.training.ran` tells all of it. size: samples in the data set. epochs: of each the samples that were trained
    on, in order. whole: the last went to its end. planned: samples that the sampler says it gives, null if none."""

    size: int
    epochs: list[list[int]]
    whole: bool
    planned: int | None = None
    workers: list[LoaderWorkers] = []


PLAN = surface("packing.plan", PlanRequest, Plan, "The static packing plan of a dataset, and each rank's share of it.")
STREAM = surface("packing.stream", StreamRequest, Stream, "The packs that dynamic packing emits.")
SELECT = surface("packing.select", SelectRequest, Select, "Which buffered rollout segments go into the next pack.")
DRAIN = surface("packing.drain", DrainRequest, Drain, "The packs that the post-rollout buffer gives until it is empty.")
ENCODE = surface("packing.encode", EncodeRequest, EncodeResponse, "Chat samples encoded one by one.")
BATCH = surface("packing.batch", BatchRequest, BatchResponse, "Chat samples packed and collated for training.")
JOIN = surface("packing.join", JoinRequest, BatchResponse, "Samples that a trainer joins into one row by itself.")
CHECK = surface("packing.own_check", CheckRequest, Accepted, "A trainer's own check of its batches.")
FORWARD = surface(
    "packing.forward", ForwardRequest, Forward, "Packs and unpacked samples through a small real Qwen3-VL."
)
STEP = surface("packing.step", StepRequest, Step, "The loss of one step over the packs that it makes.")
EVAL = surface("packing.eval_plan", EvalRequest, EvalPlan, "How packing and packed evaluation are read from a config.")
EPOCH = surface("packing.epoch", ShortRun, EpochRun, "The samples that a short run trains on, epoch by epoch.")
POLICY = surface("packing.policy", EvalRequest, Allowed, "The launcher's own check of packing, before training.")
