"""What an evaluation of detections must give, and what it must not hang on; and files of several ranks made one."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.metrics.surfaces import Found, MergedRows, Scene, Shard
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.boxes import iou

TOLERANCE = 1e-6
THRESHOLDS = [0.5 + 0.05 * n for n in range(10)]
Metrics = dict[str, float]
Evaluate = Callable[[list[Scene]], Metrics]


def turned(scenes: Sequence[Scene]) -> Iterator[tuple[str, list[Scene]]]:
    """The same scenes with one order reversed."""
    yield "predictions", [replace(s, found=s.found[::-1]) for s in scenes]
    yield "ground truths", [replace(s, truth=s.truth[::-1]) for s in scenes]
    yield "images", list(scenes)[::-1]


def perfect(scenes: Sequence[Scene], rng: random.Random) -> list[Scene]:
    """Every ground truth found as it is."""
    return [replace(s, found=[Found(list(b), c, round(rng.uniform(0.1, 0.9), 4)) for c, b in s.truth]) for s in scenes]


def evaluation(scenes: list[Scene], best: list[Scene], evaluate: Evaluate, ledger: Ledger) -> Iterator[Problem]:
    """Metrics hang on no order; what is found as it is counts 1, nothing found counts 0 at the recall's end, and a copy
    of a prediction is no second hit. Counts metrics, once for each comparison."""
    plain = evaluate(scenes)
    for what, other in turned(scenes):
        found = evaluate(other)
        for key in sorted(plain):
            ledger.judged()
            if _apart(found.get(key), plain[key]):
                yield Problem(f"{key} hangs on the order of the {what}", key, plain[key], found.get(key))
    for key, value in sorted(evaluate(best).items()):
        ledger.judged()
        if _apart(value, 1.0):
            yield Problem(f"{key} of predictions that are the ground truth is not 1", key, 1.0, value)
    nothing = evaluate([replace(s, found=[]) for s in scenes])
    ledger.judged(len(nothing))
    if nothing and min(nothing.values()) > TOLERANCE:
        yield Problem("nothing found costs nothing", "no predictions", 0.0, nothing)
    copied = evaluate([replace(s, found=[f for one in s.found for f in (one, one)]) for s in best])
    ledger.judged(len(copied))
    if copied and max(copied.values()) > 1 + TOLERANCE:
        yield Problem("a copy of a prediction is a second hit", "copies", 1.0, copied)


def _apart(found: float | None, wanted: float) -> bool:
    return found is None or not abs(found - wanted) <= TOLERANCE


def matches(scene: Scene, threshold: float) -> list[tuple[int, int]]:
    """Predictions and ground truths one to one, the pair that overlaps most first, whatever their categories."""
    pairs = sorted(
        ((iou(f.box, box), i, j) for i, f in enumerate(scene.found) for j, (_, box) in enumerate(scene.truth)),
        key=lambda pair: (-pair[0], pair[1], pair[2]),
    )
    taken: tuple[set[int], set[int]] = (set(), set())
    kept = []
    for overlap, i, j in pairs:
        if overlap >= threshold and i not in taken[0] and j not in taken[1]:
            kept.append((i, j))
            taken[0].add(i)
            taken[1].add(j)
    return kept


def average_precision(scenes: Sequence[Scene], threshold: float, category: int) -> float | None:
    """The mean over 101 recalls of the best precision from there on; of each image the best-scored prediction takes the
    ground truth that it overlaps most. None where the category has no ground truth."""
    hits = []
    for scene in scenes:
        boxes = [box for c, box in scene.truth if c == category]
        free = set(range(len(boxes)))
        if not boxes:
            continue  # whether it is there, an image that lacks it does not tell
        for one in sorted((f for f in scene.found if f.category == category), key=lambda f: -f.score):
            best = max(free, key=lambda j: iou(one.box, boxes[j]), default=None)
            hit = best is not None and iou(one.box, boxes[best]) >= threshold
            free -= {best} if hit and best is not None else set()
            hits.append((one.score, hit))
    total = sum(c == category for s in scenes for c, _ in s.truth)
    if not total:
        return None
    hits.sort(key=lambda h: -h[0])
    right = list(itertools.accumulate(int(hit) for _, hit in hits))
    points = [(r / total, r / (n + 1)) for n, r in enumerate(right)]
    return sum(max((p for r, p in points if r >= k / 100 - 1e-12), default=0.0) for k in range(101)) / 101


def mean_average_precision(scenes: Sequence[Scene], thresholds: Sequence[float]) -> float:
    """Over thresholds and categories that have ground truth."""
    categories = sorted({c for s in scenes for c, _ in s.truth})
    found = [average_precision(scenes, t, c) for t in thresholds for c in categories]
    known = [f for f in found if f is not None]
    return sum(known) / len(known) if known else 0.0


def merged(shards: Sequence[Shard], answer: MergedRows, ledger: Ledger) -> Iterator[Problem]:
    """Each row once, in the input's order; traces beside them; counts added up. Counts rows."""
    rows = sorted(row for shard in shards for row in shard.rows)
    ledger.judged(len(rows))
    shown = {"shards": [shard.rows for shard in shards]}
    if answer.rows != rows:
        yield Problem("the merged rows are not each rank's rows in the input's order", "rows", rows, answer.rows, shown)
    if answer.traces != answer.rows:
        yield Problem("the traces do not stand beside their rows", "traces", answer.rows, answer.traces, shown)
    if answer.emitted != len(rows):
        yield Problem("the number of rows is another", "emitted", len(rows), answer.emitted, shown)
    errors = sum((Counter(shard.errors) for shard in shards), Counter())
    if Counter(answer.errors) != errors:
        yield Problem("the ranks' counts do not add up", "errors", dict(errors), answer.errors, shown)
