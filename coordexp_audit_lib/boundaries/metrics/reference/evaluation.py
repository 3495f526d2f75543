"""The reference's evaluation of detections and of rollouts, and its merge of what ranks left."""

from __future__ import annotations

from collections import Counter

from coordexp_audit_lib.boundaries.metrics import surfaces as s
from coordexp_audit_lib.boundaries.metrics.predicates import detections
from coordexp_audit_lib.boundaries.metrics.reference import trainer
from coordexp_audit_lib.boundaries.metrics.reference.telemetry import Stage2Telemetry
from coordexp_audit_lib.core.surface import Refuse, answers


@answers(s.MATCHED)
def matched(request: s.EvaluateRequest) -> s.Evaluated:
    hits = sum(len(detections.matches(scene, 0.5)) for scene in request.scenes)
    found, truth = (sum(len(getattr(one, side)) for one in request.scenes) for side in ("found", "truth"))
    precision, recall = hits / found if found else 1.0, hits / truth if truth else 1.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return s.Evaluated({"precision": precision, "recall": recall, "f1": f1})


@answers(s.ROLLOUTS)
def rollouts(request: s.EvaluateRollouts) -> s.EvaluatedRollouts:
    """Counts are summed over samples and ranks first, and divided once; of nothing a rate is 0."""
    sums: Counter[str] = Counter()
    for one in (trial for rank in request.ranks for trial in rank):
        telemetry = Stage2Telemetry()
        telemetry.step_began("B")
        boxes = [found for found in trainer.parsed(telemetry, one.text) if isinstance(found, s.Box)]
        hits = sum(any(box.bbox == gt.bbox for gt in one.gt) for box in boxes)
        sums += Counter(
            samples=1,
            pred_objects=len(boxes),
            gt_objects=len(one.gt),
            matched=hits,
            answered=int(bool(boxes)),
            hit=int(bool(hits)),
            cut=int(trainer.broken_off(one.text)),
        )
    found, truth, hits = sums["pred_objects"], sums["gt_objects"], sums["matched"]
    told = {name: float(sums[name]) for name in ("pred_objects", "gt_objects", "matched")}
    told |= {"fp": float(found - hits), "fn": float(truth - hits)}
    shares = {"sample_valid_pred_rate": "answered", "sample_any_match_rate": "hit", "parse_truncated_rate": "cut"}
    told |= {name: sums[of] / sums["samples"] if sums["samples"] else 0.0 for name, of in shares.items()}
    told |= {"precision": hits / found if found else 0.0, "recall": hits / truth if truth else 0.0}
    told["f1"] = 2 * hits / (found + truth) if found + truth else 0.0
    return s.EvaluatedRollouts([dict(told) for _ in request.ranks])


@answers(s.AVERAGED)
def averaged(request: s.EvaluateRequest) -> s.Evaluated:
    means = {"AP": detections.THRESHOLDS, "AP50": [0.5]}
    return s.Evaluated({k: detections.mean_average_precision(request.scenes, t) for k, t in means.items()})


@answers(s.MERGE)
def merge(request: s.MergeRequest) -> s.MergedRows:
    rows = sorted(row for shard in request.shards for row in shard.rows)
    if not all(shard.complete for shard in request.shards):
        raise Refuse("a rank did not come to its end")
    if len(set(rows)) < len(rows) or len(rows) != sum(shard.emitted for shard in request.shards):
        raise Refuse("the rows are not those that were written, each once")
    errors = sum((Counter(shard.errors) for shard in request.shards), Counter())
    return s.MergedRows(rows, list(rows), len(rows), dict(errors))
