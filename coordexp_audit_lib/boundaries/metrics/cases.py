"""Inputs of the metrics boundary: two short runs, micro-steps of one optimizer step, and schedules."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.metrics import names
from coordexp_audit_lib.boundaries.metrics.surfaces import (
    AccumulateRequest,
    Box,
    MicroStep,
    RealizedRequest,
    RunRequest,
)

CAT, DOG = Box("cat", [1, 1, 900, 900]), Box("dog", [10, 10, 200, 300])
PACKING_LENGTH = 160
REALIZED_STEPS = 400


def record(desc: str, bins: list[int]) -> str:
    tokens = ", ".join(f"<|coord_{k}|>" for k in bins)
    return f'{{"desc": "{desc}", "bbox_2d": [{tokens}]}}'


def text(*records: str) -> str:
    return '{"objects": [' + ", ".join(records) + "]}"


HIT, BOTH = text(record("cat", CAT.bbox)), text(record("cat", CAT.bbox), record("dog", DOG.bbox))
MISS = text(record("tree", [500, 500, 520, 530]))
ARITY = text(record("cat", CAT.bbox), record("dog", [10, 10, 200]))
NAMELESS = text(record("", CAT.bbox), record("dog", DOG.bbox))
INVERTED = text(record("cat", [900, 900, 1, 1]), record("dog", DOG.bbox))
CUT = text(record("cat", CAT.bbox), record("dog", DOG.bbox))[:-30]
NO_JSON = "There is a cat."
KINDS = {
    "one hit": HIT,
    "both hit": BOTH,
    "miss": MISS,
    "a box of three": ARITY,
    "no desc": NAMELESS,
    "inverted box": INVERTED,
    "cut off": CUT,
    "no JSON": NO_JSON,
}

# Eight steps of b_ratio 0.75: A B B B A B B B. Ranks differ in what their rollouts are and so in their packs;
# a record without a desc comes in two steps only, and in one step nothing is dropped.
MIXED = [
    [[HIT, HIT, HIT], [HIT, HIT, HIT]],
    [[HIT, ARITY, NO_JSON], [BOTH, MISS, HIT]],
    [[HIT, BOTH, HIT], [MISS, MISS, BOTH]],
    [[NAMELESS, CUT, HIT], [NO_JSON, INVERTED, BOTH]],
    [[HIT, HIT, HIT], [HIT, HIT, HIT]],
    [[INVERTED, HIT, ARITY], [NO_JSON, NO_JSON, NO_JSON]],
    [[BOTH, BOTH, NAMELESS], [ARITY, CUT, MISS]],
    [[HIT, MISS, MISS], [ARITY, HIT, HIT]],
]


def runs() -> list[tuple[str, RunRequest]]:
    """A run of both channels, and one of Channel-B alone."""
    only = [[[HIT, ARITY], [BOTH, MISS]], [[MISS, NAMELESS], [HIT, HIT]]]
    return [
        ("both channels, b_ratio 0.75", RunRequest(0.75, 17, [CAT, DOG], MIXED, PACKING_LENGTH)),
        ("Channel-B only, b_ratio 1", RunRequest(1.0, 17, [CAT, DOG], only, PACKING_LENGTH)),
    ]


def schedules() -> list[tuple[str, RealizedRequest]]:
    return [(f"b_ratio {b}", RealizedRequest(b, REALIZED_STEPS)) for b in (0.75, 0.85, 0.3)]


SEED = 17 + 5 * 1_000_003
COUNTS = (names.INVALID, names.VALID, names.DROPPED, f"{names.REASON}wrong_arity", "stage2/raw_rollouts")
GAUGE = "loss/bbox_ciou"  # a mean in every era's accumulator


def micro_steps() -> list[tuple[str, AccumulateRequest]]:
    """Two ranks with three and two micro-steps. Step totals come with the first, as trainers attach them."""

    def rank(first: int, weights: list[float], seeds: int) -> list[MicroStep]:
        made = []
        for n, weight in enumerate(weights):
            metrics = {"loss/bbox_smoothl1": 0.25 * (n + 1)}
            if n < seeds:
                metrics["rollout/seed_base"] = float(SEED)
            if n == 0:
                metrics |= {key: float(first + i) for i, key in enumerate(COUNTS)}
                metrics[f"{names.REASON}wrong_arity"] = metrics[names.DROPPED]
                metrics["rollout/_parse_truncated_num"] = float(first)
                metrics["rollout/_parse_truncated_den"] = metrics["stage2/raw_rollouts"]
                metrics[names.GENERATE] = 1.5 * first
            made.append(MicroStep(metrics, weight))
        return made

    return [
        ("the seed on every micro-step", AccumulateRequest([rank(1, [2, 1, 1], 3), rank(4, [1, 2], 2)])),
        ("the seed on the first micro-step", AccumulateRequest([rank(1, [2, 1, 1], 1), rank(4, [1, 2], 1)])),
        ("the seed on one rank", AccumulateRequest([rank(1, [2, 1, 1], 3), rank(4, [1, 2], 0)])),
    ]


def partial_gauges() -> list[tuple[str, AccumulateRequest, float]]:
    """A gauge on some micro-steps only, with its mean over those that have it."""

    def steps(values: list[float | None], weights: list[float]) -> list[MicroStep]:
        have = [{} if v is None else {GAUGE: v} for v in values]
        return [MicroStep({"loss/bbox_smoothl1": 0.5, **m}, w) for m, w in zip(have, weights, strict=True)]

    whole = [steps([0.5, 0.75], [1, 1]), steps([0.25, 0.5], [1, 1])]
    some = [steps([0.5, None, None], [2, 1, 1]), steps([0.25, None], [2, 2])]
    one = [steps([0.5, 0.75], [1, 1]), steps([None, None], [1, 1])]
    return [
        ("on every micro-step", AccumulateRequest(whole), 0.5),
        ("on each rank's first micro-step", AccumulateRequest(some), 0.375),
        ("on one rank", AccumulateRequest(one), 0.625),
    ]
