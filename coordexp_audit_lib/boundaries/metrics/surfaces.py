"""The questions of the metrics boundary, with their input and output."""

from __future__ import annotations

import math

import msgspec

from coordexp_audit_lib.boundaries.metrics.predicates.log import Log, row_of
from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import Vocabulary
from coordexp_audit_lib.core.short_run import ShortRun
from coordexp_audit_lib.core.surface import surface


class Box(msgspec.Struct, frozen=True):
    """A ground-truth object: four coordinate bins, 0..999."""

    desc: str
    bbox: list[int]


class RunRequest(msgspec.Struct, frozen=True):
    """Train for some steps on the CPU, on as many ranks as `rollouts` has, and keep what is logged after each step.

    b_ratio: of the schedule. seed: the training seed. gt: every sample's objects. rollouts: [step][rank][sample], the
    text that generation gives; Channel-A steps use no rollout. packing_length: tokens of one micro-step.
    """

    b_ratio: float
    seed: int
    gt: list[Box]
    rollouts: list[list[list[str]]]
    packing_length: int


class RunResponse(msgspec.Struct, frozen=True):
    """rows: one a step, as rank 0 logs it; a number that is not finite stands as text. Seconds are counted by a clock
    that ticks once a look, so that they are the same in every run."""

    rows: list[dict[str, float | str]]


class MicroStep(msgspec.Struct, frozen=True):
    """One micro-step's metrics. weight: segments in its pack, by which gauges are averaged."""

    metrics: dict[str, float]
    weight: float = 1.0


class AccumulateRequest(msgspec.Struct, frozen=True):
    """Accumulate these micro-steps ([rank][micro-step]) of one optimizer step, then reduce over the ranks."""

    ranks: list[list[MicroStep]]


class AccumulateResponse(msgspec.Struct, frozen=True):
    """The reduced metrics as each rank has them."""

    ranks: list[dict[str, float | str]]


class ReduceRequest(msgspec.Struct, frozen=True):
    """Reduce over ranks what each brings of one optimizer step: (metric, value) in the order in which it has them."""

    ranks: list[list[tuple[str, float]]]


class Found(msgspec.Struct, frozen=True):
    """A predicted box (x1, y1, x2, y2 in pixels) of a category, with a score."""

    box: list[float]
    category: int
    score: float


class Scene(msgspec.Struct, frozen=True):
    """One image of 640 by 640 pixels: ground truth as (category, box), and predictions."""

    truth: list[tuple[int, list[float]]]
    found: list[Found]


class EvaluateRequest(msgspec.Struct, frozen=True):
    """Evaluate detections; images are numbered in order, and so are categories, from 1."""

    scenes: list[Scene]


class Evaluated(msgspec.Struct, frozen=True):
    """metrics: by name; shares and means of shares only, of which 1 is perfect."""

    metrics: dict[str, float]


class Trial(msgspec.Struct, frozen=True):
    """A sample of an evaluation: its objects, and the text that generation gives for it."""

    gt: list[Box]
    text: str


class EvaluateRollouts(msgspec.Struct, frozen=True):
    """Evaluate rollouts on as many ranks as there are lists; each rank has its samples in batches of `batch`."""

    ranks: list[list[Trial]]
    batch: int = 2


class EvaluatedRollouts(msgspec.Struct, frozen=True):
    """ranks: what the evaluation returns on each, by the last part of a metric's name; a number that is not finite
    stands as text."""

    ranks: list[dict[str, float | str]]


class Shard(msgspec.Struct, frozen=True):
    """What one rank of an evaluation left: the numbers of its rows in the input, in the order in which it wrote them,
    how many rows it says that it wrote, and its counted errors. complete: whether it came to its end."""

    rows: list[int]
    emitted: int
    errors: dict[str, int] = {}
    complete: bool = True


class MergeRequest(msgspec.Struct, frozen=True):
    shards: list[Shard]


class MergedRows(msgspec.Struct, frozen=True):
    """rows: numbers in the input, in the order of the merged file. traces: those of the token traces beside it."""

    rows: list[int]
    traces: list[int]
    emitted: int
    errors: dict[str, int]


class RealizedRequest(msgspec.Struct, frozen=True):
    """Follow the schedule for some steps from the first, and note after each what the realised ratio is."""

    b_ratio: float
    steps: int


class RealizedResponse(msgspec.Struct, frozen=True):
    """channels: `A` or `B` for each step. ratios: the realised ratio after each."""

    channels: str
    ratios: list[float]


LOG = surface(
    "metrics.log", RunRequest, RunResponse, "What the trainer logs after each step of a short run on two ranks."
)
ACCUMULATE = surface(
    "metrics.accumulate",
    AccumulateRequest,
    AccumulateResponse,
    "One step's metrics accumulated over micro-steps and reduced over ranks.",
)
REDUCE = surface(
    "metrics.reduce", ReduceRequest, AccumulateResponse, "One step's metrics of every rank, reduced over the ranks."
)
MATCHED = surface("metrics.matched_detections", EvaluateRequest, Evaluated, "Precision and recall of matched boxes.")
ROLLOUTS = surface(
    "metrics.evaluate_rollouts",
    EvaluateRollouts,
    EvaluatedRollouts,
    "What the trainer's own evaluation says of rollouts: counts, and the rates made of them.",
)
AVERAGED = surface("metrics.average_precision", EvaluateRequest, Evaluated, "Average precision of scored boxes.")
MERGE = surface("metrics.merge_shards", MergeRequest, MergedRows, "The outputs of several ranks, merged into one.")
REALIZED = surface(
    "metrics.realized", RealizedRequest, RealizedResponse, "The channels of a schedule and the realised ratio."
)


RUN_LOG = surface("metrics.run_log", ShortRun, RunResponse, "What a short run of a small model logs.")


def log_of(response: RunResponse, words: Vocabulary) -> Log:
    """A run's answer as a log; its rows are numbered as the steps."""
    rows = [row_of(numbers(r), n, words) for n, r in enumerate(response.rows, 1)]
    return Log("the run's log", [msgspec.structs.replace(r, step=r.line) for r in rows], words)


def numbers(row: dict[str, float | str]) -> dict[str, float | str]:
    """`nan` and infinities as numbers again; other text stays."""
    return {k: float(v) if isinstance(v, str) and v in ("nan", "inf", "-inf") else v for k, v in row.items()}


def portable(row: dict[str, float]) -> dict[str, float | str]:
    """Numbers as JSON can hold them."""
    return {k: v if math.isfinite(v) else repr(float(v)) for k, v in row.items()}
