"""Inputs of the metrics boundary: two short runs, micro-steps of one optimizer step, and schedules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean

import msgspec

from coordexp_audit_lib.boundaries.metrics import surfaces as s
from coordexp_audit_lib.boundaries.metrics.predicates import reduction
from coordexp_audit_lib.boundaries.metrics.predicates.log import Log, Row, row_of
from coordexp_audit_lib.boundaries.metrics.predicates.rollouts import Counts
from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import Vocabulary, vocabulary
from coordexp_audit_lib.core.claim import Context, Ledger, Predicate
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.problem import Problem, Undecided
from coordexp_audit_lib.core.short_run import short_run
from coordexp_audit_lib.kit import coordjson
from coordexp_audit_lib.kit.schedule import seed_base

Found = Iterator[Violation | Problem]
CAT, DOG = s.Box("cat", [1, 1, 900, 900]), s.Box("dog", [10, 10, 200, 300])
PACKING_LENGTH = 160
REALIZED_STEPS = 400


def text(*objects: tuple[str, list[int]]) -> str:
    return coordjson.container(*(coordjson.record(desc, "bbox_2d", bins, "desc_first") for desc, bins in objects))


HIT, BOTH = text(("cat", CAT.bbox)), text(("cat", CAT.bbox), ("dog", DOG.bbox))
MISS = text(("tree", [500, 500, 520, 530]))
ARITY = text(("cat", CAT.bbox), ("dog", [10, 10, 200]))
NAMELESS = text(("", CAT.bbox), ("dog", DOG.bbox))
INVERTED = text(("cat", [900, 900, 1, 1]), ("dog", DOG.bbox))
CUT = BOTH[:-30]
# A coordinate with a zero before it: to a reader of text a box, but no coordinate token goes with it. One record.
SPELLED = HIT.replace(f"<|coord_{CAT.bbox[0]}|>", f"<|coord_00{CAT.bbox[0]}|>", 1)
NO_JSON = "There is a cat."

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


def runs() -> list[tuple[str, s.RunRequest]]:
    """A run of both channels, and one of Channel-B alone."""
    only = [[[SPELLED, ARITY], [BOTH, MISS]], [[MISS, NAMELESS], [HIT, HIT]]]
    return [
        ("both channels, b_ratio 0.75", s.RunRequest(0.75, 17, [CAT, DOG], MIXED, PACKING_LENGTH)),
        ("Channel-B only, b_ratio 1", s.RunRequest(1.0, 17, [CAT, DOG], only, PACKING_LENGTH)),
    ]


# What is to be counted of a text, where every reader agrees: is it no container at all, and how many records does it
# have that are sound, and that are not.
COUNTED = {
    **{HIT: (0, 1, 0), BOTH: (0, 2, 0), MISS: (0, 1, 0)},
    **{ARITY: (0, 1, 1), NAMELESS: (0, 1, 1), INVERTED: (0, 1, 1), NO_JSON: (1, 0, 0)},
}


def counted(texts: Sequence[str], words: Vocabulary) -> dict[str, int] | None:
    """What a Channel-B step with these rollouts is to log, by the counter's name; None where readers may differ."""
    if not all(text in COUNTED for text in texts):
        return None
    invalid, valid, dropped = (sum(COUNTED[text][i] for text in texts) for i in range(3))
    return {words.invalid: invalid, words.valid: valid, words.dropped: dropped, words.rollouts: len(texts)}


def schedules() -> list[tuple[str, s.RealizedRequest]]:
    return [(f"b_ratio {b}", s.RealizedRequest(b, REALIZED_STEPS)) for b in (0.75, 0.85, 0.3)]


SEED = seed_base(17, 5)
GAUGE = "loss/bbox_ciou"  # a mean in every era's accumulator


def counts(words: Vocabulary) -> tuple[str, ...]:
    """Counters of a Channel-B step."""
    return words.invalid, words.valid, words.dropped, f"{words.reason}wrong_arity", words.rollouts


def micro_steps(words: Vocabulary) -> list[tuple[str, s.AccumulateRequest]]:
    """Two ranks with three and two micro-steps. Step totals come with the first, as trainers attach them."""

    def rank(first: int, weights: list[float], seeds: int) -> list[s.MicroStep]:
        made = []
        for n, weight in enumerate(weights):
            metrics = {"loss/bbox_smoothl1": 0.25 * (n + 1)}
            if n < seeds:
                metrics[words.seed] = float(SEED)
            if n == 0:
                metrics |= {key: float(first + i) for i, key in enumerate(counts(words))}
                metrics[f"{words.reason}wrong_arity"] = metrics[words.dropped]
                metrics["rollout/_parse_truncated_num"] = float(first)
                metrics["rollout/_parse_truncated_den"] = metrics[words.rollouts]
                metrics[words.generate] = 1.5 * first
            made.append(s.MicroStep(metrics, weight))
        return made

    seeds = (("every micro-step", 3, 2), ("the first micro-step", 1, 1), ("one rank", 3, 0))
    return [
        (f"the seed on {where}", s.AccumulateRequest([rank(1, [2, 1, 1], a), rank(4, [1, 2], b)]))
        for where, a, b in seeds
    ]


def _steps(values: list[float | None], weights: list[float]) -> list[s.MicroStep]:
    have = [{} if v is None else {GAUGE: v} for v in values]
    return [s.MicroStep({"loss/bbox_smoothl1": 0.5, **m}, w) for m, w in zip(have, weights, strict=True)]


def gauges_of_one_rank() -> list[tuple[str, s.AccumulateRequest, float]]:
    """The same on one rank, for a pipeline that brings the ranks together before it accumulates."""
    asked: dict[str, list[float | None]] = {
        "on every micro-step of one rank": [0.5, 0.25],
        "on the first of three micro-steps": [0.5, None, None],
    }
    weighed = {name: _steps(values, [1.0] * len(values)) for name, values in asked.items()}
    means = {name: fmean(v for v in values if v is not None) for name, values in asked.items()}
    return [(name, s.AccumulateRequest([steps]), means[name]) for name, steps in weighed.items()]


def partial_gauges() -> list[tuple[str, s.AccumulateRequest, float]]:
    """A gauge on some micro-steps only, with its mean over those that have it."""
    steps = _steps
    whole = [steps([0.5, 0.75], [1, 1]), steps([0.25, 0.5], [1, 1])]
    some = [steps([0.5, None, None], [2, 1, 1]), steps([0.25, None], [2, 2])]
    one = [steps([0.5, 0.75], [1, 1]), steps([None, None], [1, 1])]
    return [
        ("on every micro-step", s.AccumulateRequest(whole), 0.5),
        ("on each rank's first micro-step", s.AccumulateRequest(some), 0.375),
        ("on one rank", s.AccumulateRequest(one), 0.625),
    ]


def uneven_keys(words: Vocabulary) -> list[tuple[str, s.ReduceRequest]]:
    """Two ranks that have the same keys in one order and in two, or of which one has what the other lacks."""
    loss, other = "loss/bbox_smoothl1", "loss/coord_soft_ce"
    values = reduction.apart([loss, GAUGE, other, words.rollouts, words.valid, words.dropped, words.generate])
    every = tuple(values)
    sets = {
        "the same keys": (every, every),
        "the same keys in another order": (every, every[::-1]),
        "a loss on rank 1 only": ((loss, words.rollouts), (loss, GAUGE, words.rollouts)),
        "a loss on rank 0 only": ((loss, GAUGE, words.rollouts), (loss, words.rollouts)),
        "each has what the other lacks": ((GAUGE, loss, words.valid), (loss, other, words.dropped, words.generate)),
    }
    return [(name, s.ReduceRequest([[(k, values[k]) for k in keys] for keys in ranks])) for name, ranks in sets.items()]


# Texts of an evaluation: what they say, how many boxes that are, and which of the four objects they hit.
FOUR = [CAT, DOG, s.Box("cup", [300, 600, 500, 800]), s.Box("hat", [700, 20, 860, 180])]
NEAR_NOTHING = ("tree", [500, 500, 520, 530])
BEGUN = HIT[: HIT.index("cat")]


def _trial(gt: Sequence[s.Box], said: Sequence[s.Box], strays: int = 0, words: str = "") -> tuple[s.Trial, Counts]:
    """A sample of which `said`, ground truths of it, are found as they are, and so many boxes that overlap none by a
    tenth; or one whose rollout is `words`, of which nothing can be read."""
    found = [(b.desc, b.bbox) for b in said] + [NEAR_NOTHING] * strays
    hits, predictions = (0, 0) if words else (len(said), len(found))
    cut = int(words.startswith("{"))
    counts = Counts(1, predictions, len(gt), hits, int(predictions > 0), int(hits > 0), cut)
    return s.Trial(list(gt), words or text(*found)), counts


def evaluations() -> list[tuple[str, s.EvaluateRollouts, Counts]]:
    """Samples on one or two ranks, and what is to be counted of them all."""
    few = [_trial(FOUR, FOUR[:2]), _trial(FOUR, FOUR[:3], 1), _trial(FOUR, [])]
    many = [_trial([CAT], [CAT], 4), _trial([CAT], [], 3), _trial(FOUR[:2], [DOG], 2)]
    mute = [_trial(FOUR, [], words=NO_JSON), _trial([CAT], [], words=BEGUN)]
    made = {
        "more ground truths than predictions": [few],
        "more predictions than ground truths": [many],
        "two ranks, of which one has a sample": [[*few, *many], [_trial(FOUR, FOUR)]],
        "rollouts of which some can't be read": [[*few, mute[0]], [mute[1], _trial(FOUR, FOUR[:1])]],
        "no prediction at all": [mute],
        "a sample without ground truth": [[_trial([], [], 2), _trial(FOUR, FOUR[:2])]],
        "no ground truth at all": [[_trial([], [], 2)]],
    }
    return [
        (
            name,
            s.EvaluateRollouts([[t for t, _ in rank] for rank in ranks]),
            _all([c for rank in ranks for _, c in rank]),
        )
        for name, ranks in made.items()
    ]


def _all(counts: Sequence[Counts]) -> Counts:
    return sum(counts, Counts())


# ---- questions that several claims ask ---------------------------------------------------------------------------


def judged_runs(ctx: Context, predicate: Predicate, among: Sequence[tuple[str, s.RunRequest]] | None = None) -> Found:
    """Judge the log of every run (or of those that can decide the claim); one that can't tell is left out."""
    words = vocabulary(ctx.contract)
    if ctx.target.declaration() is not None and not ctx.answers(s.LOG):
        for log in of_short_run(ctx):
            yield from predicate(log, ctx)
        return
    for name, request in among or runs():
        log, before = s.log_of(ctx.value(s.LOG, request), words), ctx.checked
        try:
            for p in predicate(log, ctx):
                yield msgspec.structs.replace(p, counterexample={"case": name, **p.counterexample}, where=None)
        except Undecided as error:
            ctx.left_out(name, f"the log can't tell: {error}")
        else:
            if ctx.checked == before:
                ctx.left_out(name, "its log has nothing that the claim is about")


def of_short_run(ctx: Context) -> Iterator[Log]:
    """The log of a short run of an adapter's pipeline. Its rows say their steps by themselves."""
    words = vocabulary(ctx.contract)
    rows = ctx.value(s.RUN_LOG, short_run()).rows
    yield Log("the run's log", [row_of(s.numbers(row), n, words) for n, row in enumerate(rows, 1)], words)


def with_runs(ctx: Context, predicate: Predicate, steps: Found) -> Found:
    """Judge single steps, then the runs; a target that can't answer one of the two is judged by the other in part."""
    for part, found in (("single steps", steps), ("the log of a run", judged_runs(ctx, predicate))):
        try:
            yield from found
        except SurfaceUnbound as error:
            ctx.left_out(part, error.what)


def judged_steps(ctx: Context, predicate: Predicate) -> Found:
    """Judge what micro-steps of one optimizer step become on two ranks."""
    for name, _, payload in accumulated(ctx):
        mine = Ledger()  # one step has not all that a log has: what it lacks is judged in the runs
        for p in predicate(Log("one step", [payload], vocabulary(ctx.contract)), mine):
            yield msgspec.structs.replace(p, counterexample={"case": name}, where=None)
        ctx.judged(mine.checked)


def accumulated(ctx: Context) -> Iterator[tuple[str, s.AccumulateRequest, Row]]:
    """Each case with what rank 0 is left with."""
    words = vocabulary(ctx.contract)
    for name, request in micro_steps(words):
        payload = s.numbers(ctx.value(s.ACCUMULATE, request).ranks[0])
        values = {k: v for k, v in payload.items() if not isinstance(v, str)}
        yield name, request, Row("train", None, 1, values)
