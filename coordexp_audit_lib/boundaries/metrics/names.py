"""What a metric's name says about it. One table of roles and one of rates; nothing else decides by name.

A role is given by the first rule whose pattern is found in the key. The reasons stand beside the rules, and the
exceptions are rules too: they come first.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple


class Rule(NamedTuple):
    """role: `repeat`, `identity`, `timing`, `counter` or `gauge`. why: the convention that the pattern reads."""

    pattern: str
    role: str
    why: str


ROLES = (
    Rule(r"^snapshot/", "repeat", "the last value logged before, shown again; judged where it was"),
    Rule(r"(^|[/_])seed(_base)?$", "identity", "a seed tells which random numbers were drawn"),
    Rule(r"(^|[/_])(checksum|crc32|digest|sha\d*|fingerprint)$", "identity", "a checksum tells which content was read"),
    Rule(r"(^|/)(global_)?step$", "identity", "a step's number"),
    Rule(r"_version$", "identity", "the number of a schema or a score"),
    Rule(r"^time/", "timing", "wall-clock seconds, one value a step"),
    Rule(r"(^|/)loss/|^loss$|^train_loss$", "gauge", "a loss, also where its name counts something"),
    Rule(r"_per_[a-z]+$|_(mean|rate|frac|ratio)$|_over_", "gauge", "a mean, a rate or a ratio, whatever it is made of"),
    Rule(r"/reason/", "counter", "records dropped for one reason"),
    Rule(r"/N_[^/]+$|/num_(terms|ul_boundaries)$", "counter", "N_ and num_ open the names of counts"),
    Rule(r"_(count|num|den|total)$|_counter_[a-z_]+$", "counter", "a count, or the terms of a rate"),
    Rule(r"(pred|gt)_objects$", "counter", "objects"),
    Rule(r"/near_iou90_(any|same)$", "counter", "pairs of near-duplicate boxes; dup/raw/*_count logs the same numbers"),
    Rule(r"^stage2/(raw_rollouts|invalid_rollout|drop_[a-z_]+)$", "counter", "rollouts and dropped records"),
    Rule(r"/(invalid_rollout(_sample_dropped)?|prompt_tok_mismatch)$", "counter", "rollouts"),
    Rule(r"/parse_(truncated|dropped_invalid|dropped_ambiguous)$", "counter", "rollouts cut off, records dropped"),
    Rule(r"/(gating_rejections|fn_appended|matched|fp|fn)$", "counter", "pairs and objects"),
    Rule(r"/(matched_for|excluded_from)_supervision$", "counter", "objects"),
    Rule(r"^train/(samples_seen|micro_steps)$", "counter", "samples and micro-steps"),
)
_COMPILED = [(re.compile(rule.pattern), rule.role) for rule in ROLES]


@lru_cache(maxsize=65536)
def role(key: str) -> str:
    """The role of a metric; `gauge` where no rule speaks: a mean over micro-steps and ranks, of any value."""
    return next((r for pattern, r in _COMPILED if pattern.search(key)), "gauge")


RATIO_REALIZED = "stage2_ab/b_ratio_realized"
CHANNEL_A, CHANNEL_B = "stage2/channel_a", "stage2/channel_b"
INVALID = "stage2_ab/channel_b/invalid_rollout"
STRICT = "stage2_ab/channel_b/strict_drop/"
VALID, DROPPED, REASON = f"{STRICT}N_valid_pred", f"{STRICT}N_drop_invalid", f"{STRICT}reason/"
GENERATE, THROUGHPUT = "time/rollout_generate_s", "rollout/gen_tokens_per_s"
# The buckets that the project's own spec lists "at minimum" (stage2-ab-training, strict-drop diagnostics).
REASONS = (
    "missing_desc",
    "missing_geom",
    "wrong_arity",
    "non_coord_token",
    "poly_unsupported",
    "unknown_geom",
    "bbox_invalid",
    "key_invalid",
)

# What only a rollout can measure. `stage2/channel_b` is a flag and `snapshot/` says of itself that it repeats.
ROLLOUT_FAMILIES = (
    "rollout/",
    "stage2_ab/channel_b/",
    "loss/B_",
    "coord_diag/B/",
    "dup/",
    "diag/duplicate_burst/",
    "train/triage/",
    "stage2/raw_rollouts",
    "stage2/invalid_rollout",
    "stage2/drop_",
)
ROLLOUT_TIME = "time/rollout_"
# Names that say that a timing runs on from step to step.
RUNNING_NAMES = ("_cumulative", "_since_start", "_elapsed", "_so_far")


class Rate(NamedTuple):
    """`name` = sum of `over` / sum of `under`, in the same folder as `name` unless a term names its own.

    Each term is a group of names for one quantity; the first that a row has is taken. `any_under`: the rate may be over
    any one of the names of its denominator, because the runs at hand count rollouts in more than one way.
    """

    name: str
    over: tuple[tuple[str, ...], ...]
    under: tuple[tuple[str, ...], ...]
    any_under: bool = False


_PRED = ("valid_pred_objects_total", "valid_pred_objects", "pred_objects")
_GT = ("gt_objects_total", "gt_objects")
_MATCHED = ("matched_for_supervision", "matched")
_FP, _FN = ("fp_total", "fp"), ("fn_total", "fn")
_DROPS = (("parse_dropped_invalid",), ("parse_dropped_ambiguous",))
_SAMPLES = (("train/samples_total",),)
RATES = (
    Rate("precision", (_MATCHED,), (_PRED,)),
    Rate("recall", (_MATCHED,), (_GT,)),
    Rate("f1", (_MATCHED, _MATCHED), (_PRED, _GT)),
    Rate("parse_obj_valid_frac", (_PRED,), (("parse_obj_total",),)),
    Rate("parse_obj_drop_frac", _DROPS, (("parse_obj_total",),)),
    Rate("parse_truncated_rate", (("parse_truncated",),), (("train/samples_total", "stage2/raw_rollouts"),), True),
    Rate("excluded_rate", (("excluded_from_supervision",),), (_MATCHED, ("excluded_from_supervision",))),
    Rate("prefix_coord_targets_per_matched", (("prefix_coord_targets_total",),), (_MATCHED,)),
    Rate("matched_for_supervision_over_valid_pred", (("matched_for_supervision_count",),), (_PRED,)),
    Rate("gen_new_tokens_mean", (("gen_new_tokens_total",),), _SAMPLES),
    Rate("gen_tokens_per_s", (("gen_new_tokens_total",),), ((GENERATE,),)),
    Rate("gt_per_sample", (_GT,), _SAMPLES),
    Rate("pred_per_sample", (_PRED,), _SAMPLES),
    Rate("fp_per_sample", (_FP,), _SAMPLES),
    Rate("fn_per_sample", (_FN,), _SAMPLES),
    Rate("samples_per_micro", (("samples_total",),), (("micro_steps",),)),
)
RATES_BY_NAME = {rate.name: rate for rate in RATES}
# Rates of training rollouts only: the same leaf elsewhere (rollout/anchor/…, eval/…) is over other samples.
ROLLOUT_ONLY = ("parse_truncated_rate", "gen_new_tokens_mean", "gen_tokens_per_s")


def terms(key: str, row: dict[str, float]) -> tuple[float, list[float]] | None:
    """Numerator and possible denominators of a rate; None if it is no rate, or the row lacks a term."""
    folder, _, leaf = key.rpartition("/")
    folder = f"{folder}/" if folder else ""
    if leaf.endswith("_rate"):
        stem = leaf.removesuffix("_rate")
        for name in (f"{folder}{leaf}", f"{folder}{stem}", f"{folder}_{stem}"):
            if f"{name}_num" in row and f"{name}_den" in row:
                return row[f"{name}_num"], [row[f"{name}_den"]]
    rate = RATES_BY_NAME.get(leaf)
    if rate is None or (leaf in ROLLOUT_ONLY and folder != "rollout/"):
        return None
    over = [_take(names, folder, row) for names in rate.over]
    if rate.any_under:
        under = [[row[_full(n, folder)] for n in rate.under[0] if _full(n, folder) in row]]
        return (_sum(over), under[0]) if None not in over and under[0] else None
    below = [_take(names, folder, row) for names in rate.under]
    if None in over or None in below:
        return None
    return _sum(over), [_sum(below)]


def _full(name: str, folder: str) -> str:
    return name if "/" in name else folder + name


def _take(names: tuple[str, ...], folder: str, row: dict[str, float]) -> float | None:
    return next((row[_full(n, folder)] for n in names if _full(n, folder) in row), None)


def _sum(values: list[float | None]) -> float:
    return sum(v for v in values if v is not None)
