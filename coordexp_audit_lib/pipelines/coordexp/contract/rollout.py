"""What CoordExp promises at the rollout boundary."""

from __future__ import annotations

from typing import Any

from coordexp_audit_lib.pipelines.coordexp.contract.metrics import ROLLOUTS

FAILED = {
    **{ROLLOUTS: 4.0, "train/samples_total": 4.0},
    **{"rollout/parse_truncated": 1.0, "rollout/parse_truncated_rate": 0.25},
}
# The metrics of two ranks: equal keys, keys of one rank only, a rank whose parses failed, and one without rollouts.
REDUCED: list[list[dict[str, float]]] = [
    [{"loss/ce": 1.0, "time/rollout_generate_s": 2.0}, {"loss/ce": 3.0, "time/rollout_generate_s": 1.0}],
    [{"loss/ce": 1.0, "rollout/f1": 0.5}, {"loss/ce": 3.0, "rollout/gen_new_tokens_mean": 7.0}],
    [{"loss/ce": 1.0}, {"loss/ce": 1.0, **FAILED}],
    [{}, {ROLLOUTS: 2.0, "rollout/parse_truncated": 0.0}],
]

CONTRACT: dict[str, Any] = {
    # (method, path): what the launcher and the trainer ask of a rollout server.
    "rollout.routes_needed": (
        *(("GET", "/health/"), ("POST", "/infer/"), ("GET", "/get_world_size/"), ("POST", "/init_communicator/")),
    ),
    "rollout.route_roots": ("src", "scripts"),  # folders whose files name routes
    "rollout.source_roots": ("src",),  # folders whose files may call collectives
    "rollout.capped": True,  # whether a call for rollouts by itself keeps to what the servers decode at once
    "rollout.reducers": ("stage2", "rollout_matching"),  # trainers that reduce metrics over ranks
    "rollout.reduced_metrics": REDUCED,
}
# Before 2026-02-14 (5fd9c30) it was left to the caller.
CHANGES = {"2026-02-11": {"rollout.capped": False}}
