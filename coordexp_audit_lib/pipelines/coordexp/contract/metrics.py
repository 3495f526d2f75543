"""What CoordExp's trainers log, by name, and what each name says.

A role is given by the first pattern that is found in a key; the exceptions are rules too, and come first. A rate is the
sum of some metrics over the sum of others, in its own folder unless a term names another; each term is a group of names
for one quantity, of which the first that a row has is taken.
"""

from __future__ import annotations

from typing import Any

STRICT = "stage2_ab/channel_b/strict_drop/"
GENERATE = "time/rollout_generate_s"
ROLLOUTS = "stage2/raw_rollouts"

RUNNING = ("_cumulative", "_since_start", "_elapsed", "_so_far")

NAMES = {
    # What no other trainer logs: a log with one of these is CoordExp's, and its policy is asked of it.
    "own": ("stage1/", "stage2/", "stage2_ab/", "coord_diag/", "snapshot/", "loss/coord", "time/coco_eval"),
    "stage2": ("stage2/", "stage2_ab/"),
    "ratio": "stage2_ab/b_ratio_realized",
    "channel_a": "stage2/channel_a",
    "channel_b": "stage2/channel_b",
    "invalid": "stage2_ab/channel_b/invalid_rollout",
    "valid": f"{STRICT}N_valid_pred",
    "dropped": f"{STRICT}N_drop_invalid",
    "reason": f"{STRICT}reason/",
    "rollouts": ROLLOUTS,
    "generate": GENERATE,
    "throughput": "rollout/gen_tokens_per_s",
    "seed": "rollout/seed_base",
    # The buckets that the specification lists "at minimum" (stage2-ab-training, strict-drop diagnostics).
    "reasons": (
        *("missing_desc", "missing_geom", "wrong_arity", "non_coord_token", "poly_unsupported", "unknown_geom"),
        *("bbox_invalid", "key_invalid"),
    ),
    # What only a rollout can measure. `stage2/channel_b` is a flag and `snapshot/` says of itself that it repeats.
    "rollout_families": (
        *("rollout/", "stage2_ab/channel_b/", "loss/B_", "coord_diag/B/", "dup/", "diag/duplicate_burst/"),
        *("train/triage/", ROLLOUTS, "stage2/invalid_rollout", "stage2/drop_"),
    ),
    "rollout_time": "time/rollout_",
    # Names that say that a timing runs on from step to step.
    "running": RUNNING,
}

ROLES = (
    (r"^snapshot/", "repeat", "the last value logged before, shown again; judged where it was"),
    (r"(^|[/_])seed(_base)?$", "identity", "a seed tells which random numbers were drawn"),
    (r"(^|[/_])(checksum|crc32|digest|sha\d*|fingerprint)$", "identity", "a checksum tells which content was read"),
    (r"(^|/)(global_)?step$", "identity", "a step's number"),
    (r"_version$", "identity", "the number of a schema or a score"),
    (r"^time/", "timing", "wall-clock seconds, one value a step"),
    (r"(^|/)loss/|^loss$|^train_loss$", "gauge", "a loss, also where its name counts something"),
    (r"_per_[a-z]+$|_(mean|rate|frac|ratio)$|_over_", "gauge", "a mean, a rate or a ratio, whatever it is made of"),
    (r"/reason/", "counter", "records dropped for one reason"),
    (r"/N_[^/]+$|/num_(terms|ul_boundaries)$", "counter", "N_ and num_ open the names of counts"),
    (r"_(count|num|den|total)$|_counter_[a-z_]+$", "counter", "a count, or the terms of a rate"),
    (r"(pred|gt)_objects$", "counter", "objects"),
    (r"/near_iou90_(any|same)$", "counter", "pairs of near-duplicate boxes; dup/raw/*_count logs the same numbers"),
    (r"^stage2/(raw_rollouts|invalid_rollout|drop_[a-z_]+)$", "counter", "rollouts and dropped records"),
    (r"/(invalid_rollout(_sample_dropped)?|prompt_tok_mismatch)$", "counter", "rollouts"),
    (r"/parse_(truncated|dropped_invalid|dropped_ambiguous)$", "counter", "rollouts cut off, records dropped"),
    (r"/(gating_rejections|fn_appended|matched|fp|fn)$", "counter", "pairs and objects"),
    (r"/(matched_for|excluded_from)_supervision$", "counter", "objects"),
    (r"^train/(samples_seen|micro_steps)$", "counter", "samples and micro-steps"),
)

_PRED = ("valid_pred_objects_total", "valid_pred_objects", "pred_objects")
_GT = ("gt_objects_total", "gt_objects")
_MATCHED = ("matched_for_supervision", "matched")
_FP, _FN = ("fp_total", "fp"), ("fn_total", "fn")
_DROPS = (("parse_dropped_invalid",), ("parse_dropped_ambiguous",))
_SAMPLES = (("train/samples_total",),)
RATES = (
    ("precision", (_MATCHED,), (_PRED,)),
    ("recall", (_MATCHED,), (_GT,)),
    ("f1", (_MATCHED, _MATCHED), (_PRED, _GT)),
    ("parse_obj_valid_frac", (_PRED,), (("parse_obj_total",),)),
    ("parse_obj_drop_frac", _DROPS, (("parse_obj_total",),)),
    # Over any one of the two, because the runs at hand count rollouts in both ways.
    ("parse_truncated_rate", (("parse_truncated",),), (("train/samples_total", ROLLOUTS),), True),
    ("excluded_rate", (("excluded_from_supervision",),), (_MATCHED, ("excluded_from_supervision",))),
    ("prefix_coord_targets_per_matched", (("prefix_coord_targets_total",),), (_MATCHED,)),
    ("matched_for_supervision_over_valid_pred", (("matched_for_supervision_count",),), (_PRED,)),
    ("gen_new_tokens_mean", (("gen_new_tokens_total",),), _SAMPLES),
    ("gen_tokens_per_s", (("gen_new_tokens_total",),), ((GENERATE,),)),
    ("gt_per_sample", (_GT,), _SAMPLES),
    ("pred_per_sample", (_PRED,), _SAMPLES),
    ("fp_per_sample", (_FP,), _SAMPLES),
    ("fn_per_sample", (_FN,), _SAMPLES),
    ("samples_per_micro", (("samples_total",),), (("micro_steps",),)),
)
# Rates of training rollouts only: the same leaf elsewhere (rollout/anchor/…, eval/…) is over other samples.
ROLLOUT_ONLY = ("parse_truncated_rate", "gen_new_tokens_mean", "gen_tokens_per_s")

# Later, counts are told by their endings alone ("Channel-B duplicate-collapse metrics are explicit and
# aggregation-safe"), and the trainer keeps two totals of wall-clock time over the whole run.
LATER_ROLES = (
    (r"^dup/raw/max_desc_count$", "gauge", "listed as a gauge, in spite of its ending"),
    (r"^rollout/(anchor|explorer)/", "gauge", "means over the views and the ranks; no ending says a count"),
)


def _names(roles: tuple[tuple[str, str, str], ...], **more: tuple[str, ...]) -> dict[str, Any]:
    return {"metrics.names": {**NAMES, **more, "roles": roles, "rates": RATES, "rollout_only": ROLLOUT_ONLY}}


# By quantity, the last part of the names under which the trainer's own evaluation tells it.
EVALUATED = {
    **{name: (name,) for name in ("precision", "recall", "f1")},
    "answered": ("sample_valid_pred_rate",),
    "hit": ("sample_any_match_rate",),
    "cut": ("parse_truncated_rate",),
    **{"predictions": _PRED, "ground_truths": _GT, "matches": ("matched",)},
    **{"false_positives": _FP, "false_negatives": _FN},
}
# Where the tree evaluates by itself; before 2026-03 average precision was upstream's own.
EVALUATORS = "metrics.evaluators"
CONTRACT = {**_names(ROLES), "metrics.evaluated": EVALUATED, EVALUATORS: ("matched boxes", "average precision")}
CHANGES: dict[str, dict[str, Any]] = {
    "2026-02": {EVALUATORS: ("matched boxes",)},
    "2026-03-11": _names(ROLES, running=("_total_time", *RUNNING)),  # c8904f3
    "2026-03": {EVALUATORS: CONTRACT[EVALUATORS]},
    "2026-05": _names((*LATER_ROLES, *ROLES), running=("_total_time", *RUNNING)),
}
