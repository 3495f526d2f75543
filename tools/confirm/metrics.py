"""Boundary 09: what a run reports."""

from pathlib import Path
from typing import Any

import parts
from parts import box, container, of_tree, thing

CAT, DOG = ("cat", (100, 100, 300, 300)), ("dog", (600, 600, 900, 900))


def counters_are_counts(tree: Path) -> tuple[bool, str]:
    """Two ranks, one of which cut its samples into two packs: the number of micro-steps that is logged."""
    made = parts.trainer(whole=False)
    given = [
        {"train/micro_steps": 2.0, "train/samples_total": 2.0},
        {"train/micro_steps": 1.0, "train/samples_total": 2.0},
    ]

    def body(rank: int, dist: Any) -> dict[str, float]:
        return dict(made._reduce_train_rollout_log_payload_global(given[rank]))

    ends = [(e or {}).get("value", {}) for e in parts.on_two_ranks(body, 60.0)]
    return ends[0].get("train/micro_steps") == 1.5, f"of 2 and 1 micro-steps: {ends[0]}"


def reasons_add_up(tree: Path) -> tuple[bool, str]:
    """A record whose coordinate is spelled `<|coord_001|>`."""
    text = container(box(*CAT), box("bird", (1, 2, 3, 4)).replace("coord_1|", "coord_001|"))
    found = parts.trained(parts.trainer(), parts.sample(thing(*CAT), thing(*DOG)), text).metrics
    drop = "stage2_ab/channel_b/strict_drop/"
    reasons = {k: v for k, v in found.items() if k.startswith(drop + "reason/")}
    total = found[drop + "N_drop_invalid"]
    return sum(reasons.values()) != total, f"N_drop_invalid {total}, reasons {reasons}"


def only_when_executed(tree: Path) -> tuple[bool, str]:
    """A Channel-A sample leaves no rollout metrics; what the reduction over ranks makes of that."""
    made = parts.trainer()
    segments, _ = made._prepare_batch_inputs_a([parts.sample(thing(*CAT))], _segments_only=True)
    given = made._build_rollout_metrics_from_meta([m for _, m, _ in segments])
    found = made._reduce_train_rollout_log_payload_global({**given, "train/samples_total": 1.0})
    told = {k: found.get(f"rollout/{k}") for k in ("f1", "precision", "recall")}
    return set(told.values()) == {0.0}, f"of a step without a rollout: {told}; before the reduction: {given}"


def rates_divide(tree: Path) -> tuple[bool, str]:
    """Two ranks of two samples each, in two packs and in one: samples a micro-step, beside the terms of it.

    Later: a rate of 1 in 1 and one of 2 in 3.
    """
    made = parts.trainer(whole=False)
    if parts.later():
        key, weight = "rollout/matched_for_supervision_over_valid_pred", {"stage2/_log_weight_total": 1.0}
        rates = [{**weight, key: 1.0}, {**weight, key: 2 / 3}]
        ends = parts.on_two_ranks(
            lambda rank, dist: dict(made._reduce_stage2_pending_metrics_global(rates[rank])), 60.0
        )
        told = (ends[0] or {}).get("value", {}).get(key, 0.0)
        return round(told, 4) == 0.8333, f"of 1 in 1 and 2 in 3, which are 3 in 4: {told:.4f}"
    given = [
        {"train/samples_total": 2.0, "train/micro_steps": float(packs), "train/samples_per_micro": 2.0 / packs}
        for packs in (2, 1)
    ]
    ends = parts.on_two_ranks(lambda rank, dist: dict(made._reduce_train_rollout_log_payload_global(given[rank])), 60.0)
    told = (ends[0] or {}).get("value", {})
    rate = told.get("train/samples_per_micro")
    return (
        rate == 1.5,
        f"of 4 samples in 3 micro-steps: {rate} each, beside {told.get('train/micro_steps')} micro-steps",
    )


def _logged(**stage2: Any) -> set[str]:
    made = parts.trainer(stage2=stage2)
    parts.trained(made, parts.sample(thing(*CAT)), container(box(*CAT)))
    return {k for log in made._stage2_pending_train_logs.values() for k in log.sums}


def required_keys(tree: Path) -> tuple[bool, str]:
    key = "stage2_ab/b_ratio_realized"
    always, mixed = key in _logged(schedule={"b_ratio": 1.0}), key in _logged(schedule={"b_ratio": 0.5})
    return not always and mixed, f"{key} is logged with b_ratio 0.5: {mixed}, with 1.0: {always}"


def schema_stable(tree: Path) -> tuple[bool, str]:
    """Two Channel-B steps, one with a record that is dropped."""
    one = parts.sample(thing(*CAT))
    clean = parts.trained(parts.trainer(), one, container(box(*CAT))).metrics
    short = container(box(*CAT), '{"desc": "x", "bbox_2d": [<|coord_1|>]}')
    dropped = parts.trained(parts.trainer(), one, short).metrics
    more = sorted(k for k in set(dropped) - set(clean) if "reason" in k)
    return bool(more), f"keys of the step with a dropped record only: {more}"


def b_ratio_consistent(tree: Path) -> tuple[bool, str]:
    made = parts.trainer(whole=False, stage2={"schedule": {"b_ratio": 0.3}})
    done = 0
    for step in range(201):
        executed = made._stage2_channel_for_step(step) == "B"
        done += executed
        made._stage2_record_realized_step(global_step=step, executed_b=executed)
    told = made._stage2_b_ratio_realized()
    return abs(told - done / 201) > 1e-6, f"after 201 steps, {done} of them B: {told} is told, {done / 201:.6f} it is"


def _accumulated(key: str, value: float) -> float:
    """What is left of a value that only the first of two micro-steps carries."""
    log = of_tree(*(f"src.trainers.{m}:_PendingStage2Log" for m in ("stage2_ab_training", "stage2_two_channel")))()
    log.add({key: value, "stage2/_log_weight": 1.0})
    log.add({"loss/other": 1.0, "stage2/_log_weight": 1.0})
    return float(log.finalize()[key])


def identity_not_averaged(tree: Path) -> tuple[bool, str]:
    told = _accumulated("rollout/seed_base", 5_000_032.0)
    return told != 5_000_032.0, f"a seed of 5000032 on one of two micro-steps is logged as {told}"


def no_dilution(tree: Path) -> tuple[bool, str]:
    told = _accumulated("loss/bbox_ciou", 0.5)
    return told == 0.25, f"a gauge of 0.5 on one of two micro-steps is logged as {told}"


def reduced_by_key(tree: Path) -> tuple[bool, str]:
    """Two ranks that report the same two losses, each in an order of its own: of 1 and 2, and of 10 and 20."""
    made = parts.trainer(whole=False)
    weight = {"stage2/_log_weight_total": 1.0}
    given = [{**weight, "loss/a": 1.0, "loss/b": 10.0}, {**weight, "loss/b": 20.0, "loss/a": 2.0}]
    ends = parts.on_two_ranks(lambda rank, dist: dict(made._reduce_stage2_pending_metrics_global(given[rank])), 60.0)
    told = (ends[0] or {}).get("value", {})
    return told.get("loss/a") == 10.5, f"the means of 1, 2 and of 10, 20 on rank 0: {told}"
