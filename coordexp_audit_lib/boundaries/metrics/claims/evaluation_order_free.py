"""What an evaluation says hangs on no order: of predictions with different scores, of ground truths, or of images; and
what is found as it is counts 1.

A greedy match that takes predictions as they come gives a model that names objects in another order another score. The
difference is of the size that papers report, and no rerun with the same seed shows it.

Example: two predictions overlap one ground truth by 0.9 and 0.6. It is the first that is matched, whichever is written
first."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.metrics import surfaces as s
from coordexp_audit_lib.boundaries.metrics.predicates import detections
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.kit.boxes import iou

EVALUATORS = {"matched boxes": s.MATCHED, "average precision": s.AVERAGED}


@claim(
    severity="P1", kind="B", remedy="Match by overlap or by score alone, and break ties by what is no place in a list."
)
def evaluation_order_free(ctx: Context) -> Iterator[Violation]:
    promised = ctx.contract.get("metrics.evaluators", [n for n, q in EVALUATORS.items() if ctx.answers(q)])
    for name, question in EVALUATORS.items():
        if name not in promised:
            continue
        if not ctx.answers(question):
            ctx.left_out(name, "not in this tree")
            continue
        for n in range(4):
            rng = ctx.rng("scenes", n)
            scenes = [_scene(rng) for _ in range(n + 2)]

            def evaluate(asked: list[s.Scene], question: Any = question) -> detections.Metrics:
                metrics: detections.Metrics = ctx.value(question, s.EvaluateRequest(asked)).metrics
                return metrics

            for p in detections.evaluation(scenes, detections.perfect(scenes, rng), evaluate, ctx):
                yield p.violation(f"{name}, {len(scenes)} images")


def _scene(rng: random.Random) -> s.Scene:
    """Two to five boxes of two categories apart from each other, each found more or less well, some twice, some not."""
    truth: list[tuple[int, list[float]]] = []
    for k in range(rng.randrange(2, 6)):
        x, y, side = 120.0 * k + rng.randrange(20), float(rng.randrange(400)), float(rng.randrange(60, 100))
        truth.append((1 + k % 2, [x, y, x + side, y + side]))
    found = []
    for category, box in truth:
        for shift in rng.choice(((), (6,), (6, 19), (14, 3))):
            moved = [v + shift + round(rng.uniform(0, 2), 3) for v in box]
            found.append(s.Found(moved, category, round(rng.uniform(0.05, 0.95), 6)))
    return s.Scene(truth, found)


@fault(evaluation_order_free, "first_come", s.MATCHED, "predictions are matched as they come")
def first_come(request: s.EvaluateRequest, honest: Honest) -> s.Evaluated:
    """All but the first prediction that overlaps a ground truth at all is left out before the match."""
    return _less(request, honest, lambda scene: [_first(scene, j) for j in range(len(scene.truth))])


def _first(scene: s.Scene, j: int) -> s.Found | None:
    """The first prediction that overlaps the ground truth j."""
    box = scene.truth[j][1]
    return next((f for f in scene.found if iou(f.box, box) > 0), None)


def _less(request: s.EvaluateRequest, honest: Honest, kept: Any) -> s.Evaluated:
    scenes = [replace(one, found=[f for f in kept(one) if f is not None]) for one in request.scenes]
    made: s.Evaluated = honest(s.EvaluateRequest(scenes))
    return made


@fault(evaluation_order_free, "last_is_cut", s.AVERAGED, "the last prediction of an image is cut off")
def last_is_cut(request: s.EvaluateRequest, honest: Honest) -> s.Evaluated:
    return _less(request, honest, lambda scene: scene.found[:-1])
