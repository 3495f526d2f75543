"""Deliberate breaks of metric emission, and the claims that must catch each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coordexp_audit_lib.boundaries.metrics import cases, names
from coordexp_audit_lib.boundaries.metrics.schedule import WINDOW, shares
from coordexp_audit_lib.boundaries.metrics.surfaces import (
    ACCUMULATE,
    LOG,
    REALIZED,
    AccumulateRequest,
    AccumulateResponse,
    RealizedRequest,
    RealizedResponse,
    RunRequest,
    RunResponse,
)
from coordexp_audit_lib.core.claim import fault

Honest = Callable[[Any], Any]
RowEdit = Callable[[dict[str, float | str], int], None]


def edited(request: RunRequest, honest: Honest, edit: RowEdit) -> RunResponse:
    """The honest log, with `edit(row, index)` run on each row."""
    rows = [dict(row) for row in honest(request).rows]
    for index, row in enumerate(rows):
        edit(row, index)
    return RunResponse(rows)


def _is_b(row: dict[str, float | str]) -> bool:
    return row[names.CHANNEL_B] == 1


def _of_log(id: str, caught_by: str, summary: str) -> Callable[[RowEdit], RowEdit]:
    """Declare a fault of the log by what it does to a row."""

    def register(edit: RowEdit) -> RowEdit:
        def apply(request: RunRequest, honest: Honest) -> RunResponse:
            return edited(request, honest, edit)

        fault(id, surface=LOG, caught_by=(caught_by,), summary=summary)(apply)
        return edit

    return register


@_of_log("metrics.no_throughput", "metrics.required_keys", "throughput is logged by no step")
def no_throughput(row: dict[str, float | str], index: int) -> None:
    row.pop(names.THROUGHPUT, None)


@_of_log("metrics.ratio_unlogged", "metrics.required_keys", "the realised ratio is logged on Channel-B steps only")
def ratio_unlogged(row: dict[str, float | str], index: int) -> None:
    if not _is_b(row):
        del row[names.RATIO_REALIZED]


@_of_log("metrics.zero_timings", "metrics.only_when_executed", "a step without a rollout logs its seconds as 0")
def zero_timings(row: dict[str, float | str], index: int) -> None:
    row.setdefault(names.GENERATE, 0.0)


@_of_log("metrics.zero_rates", "metrics.only_when_executed", "a step without a rollout logs a precision of 0")
def zero_rates(row: dict[str, float | str], index: int) -> None:
    row.setdefault("rollout/precision", 0.0)


@_of_log("metrics.lagging_ratio", "metrics.b_ratio_consistent", "the ratio is that of the step before")
def lagging_ratio(row: dict[str, float | str], index: int) -> None:
    b_steps = round(float(row[names.RATIO_REALIZED]) * (index + 1)) - _is_b(row)
    row[names.RATIO_REALIZED] = b_steps / max(1, index)


@fault(
    "metrics.rolling_ratio",
    surface=REALIZED,
    caught_by=("metrics.b_ratio_consistent",),
    summary="the ratio is over the last 200 steps",
)
def rolling_ratio(request: RealizedRequest, honest: Honest) -> RealizedResponse:
    channels = honest(request).channels
    return RealizedResponse(channels, shares(channels, WINDOW))


@fault(
    "metrics.b_first",
    surface=REALIZED,
    caught_by=("metrics.b_ratio_consistent",),
    summary="all B steps of a hundred come first",
)
def b_first(request: RealizedRequest, honest: Honest) -> RealizedResponse:
    channels = "".join("B" if step % 100 < 100 * request.b_ratio else "A" for step in range(request.steps))
    return RealizedResponse(channels, shares(channels))


@_of_log("metrics.mean_counter", "metrics.counters_are_counts", "the strict-drop counters are means over the ranks")
def mean_counter(row: dict[str, float | str], index: int) -> None:
    for key in (names.VALID, names.DROPPED):
        if key in row:
            row[key] = float(row[key]) / 2


@_of_log("metrics.negative_counter", "metrics.counters_are_counts", "a counter is logged as a difference")
def negative_counter(row: dict[str, float | str], index: int) -> None:
    row["train/samples_total"] = -1.0


@_of_log("metrics.lost_reason", "metrics.reasons_add_up", "records with a box of three numbers are in no bucket")
def lost_reason(row: dict[str, float | str], index: int) -> None:
    if f"{names.REASON}wrong_arity" in row:
        row[f"{names.REASON}wrong_arity"] = 0.0


@_of_log("metrics.mean_of_rates", "metrics.reasons_add_up", "precision is the mean of the ranks' precisions")
def mean_of_rates(row: dict[str, float | str], index: int) -> None:
    if row.get("rollout/precision"):
        row["rollout/precision"] = 0.9 * float(row["rollout/precision"])


@_of_log(
    "metrics.seed_of_mean", "metrics.identity_not_averaged", "the rollout seed is averaged with micro-steps without it"
)
def seed_of_mean(row: dict[str, float | str], index: int) -> None:
    if _is_b(row):
        row["rollout/seed_base"] = float(row["rollout/seed_base"]) * 5 / 96


@_of_log("metrics.seed_of_sum", "metrics.identity_not_averaged", "the rollout seed is summed over the ranks")
def seed_of_sum(row: dict[str, float | str], index: int) -> None:
    if _is_b(row):
        row["rollout/seed_base"] = 2 * float(row["rollout/seed_base"])


@_of_log("metrics.running_seconds", "metrics.per_step_not_cumulative", "a timer is never set to zero")
def running_seconds(row: dict[str, float | str], index: int) -> None:
    row["time/forward_s"] = float(row["time/forward_s"]) + 1.5 * index


@_of_log("metrics.nan_loss", "metrics.finite", "the third step's loss is NaN")
def nan_loss(row: dict[str, float | str], index: int) -> None:
    if index == 2:
        row["loss"] = "nan"


@_of_log("metrics.sparse_buckets", "metrics.schema_stable", "a reason bucket is logged where it is not 0")
def sparse_buckets(row: dict[str, float | str], index: int) -> None:
    for key in [k for k, v in row.items() if k.startswith(names.REASON) and v == 0]:
        del row[key]


def _rebuilt(
    request: AccumulateRequest, honest: Honest, key: str, value: Callable[[list[float], list[float]], float]
) -> Any:
    """The honest payload with `key` as `value(contributions, all weights)`; a micro-step without it contributes 0."""
    micro = [m for rank in request.ranks for m in rank]
    payload = dict(honest(request).ranks[0])
    if key in payload:
        payload[key] = value([m.metrics.get(key, 0.0) * m.weight for m in micro], [m.weight for m in micro])
    return AccumulateResponse([payload] * len(request.ranks))


@fault(
    "metrics.diluted",
    surface=ACCUMULATE,
    caught_by=("metrics.no_dilution",),
    summary="a gauge is divided by the weight of all micro-steps",
)
def diluted(request: AccumulateRequest, honest: Honest) -> Any:
    return _rebuilt(request, honest, cases.GAUGE, lambda parts, weights: sum(parts) / sum(weights))


@fault(
    "metrics.averaged_seed",
    surface=ACCUMULATE,
    caught_by=("metrics.identity_not_averaged",),
    summary="a seed is averaged like a gauge",
)
def averaged_seed(request: AccumulateRequest, honest: Honest) -> Any:
    return _rebuilt(request, honest, "rollout/seed_base", lambda parts, weights: sum(parts) / sum(weights))


@fault(
    "metrics.averaged_counts",
    surface=ACCUMULATE,
    caught_by=("metrics.counters_are_counts", "metrics.reasons_add_up"),
    summary="N_drop_invalid is a mean over the micro-steps",
)
def averaged_counts(request: AccumulateRequest, honest: Honest) -> Any:
    return _rebuilt(request, honest, names.DROPPED, lambda parts, weights: sum(parts) / sum(weights))
