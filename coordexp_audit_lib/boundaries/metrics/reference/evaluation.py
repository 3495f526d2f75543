"""The reference's evaluation of detections, and its merge of what ranks left."""

from __future__ import annotations

from collections import Counter

from coordexp_audit_lib.boundaries.metrics import surfaces as s
from coordexp_audit_lib.boundaries.metrics.predicates import detections
from coordexp_audit_lib.core.surface import Refuse, answers


@answers(s.MATCHED)
def matched(request: s.EvaluateRequest) -> s.Evaluated:
    hits = sum(len(detections.matches(scene, 0.5)) for scene in request.scenes)
    found, truth = (sum(len(getattr(one, side)) for one in request.scenes) for side in ("found", "truth"))
    precision, recall = hits / found if found else 1.0, hits / truth if truth else 1.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return s.Evaluated({"precision": precision, "recall": recall, "f1": f1})


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
