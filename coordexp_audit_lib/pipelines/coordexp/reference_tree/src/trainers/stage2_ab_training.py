"""The Stage-2 AB trainer.

A skeleton: it takes its settings from the config, and that is all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]


class Stage2ABTrainingTrainer:
    """Channel-A by self-context, Channel-B by rollouts."""

    def compute_loss(self, config: Config) -> dict[str, Any]:
        """What schedules the channels, matches rollouts and weighs the loss."""
        custom = config["custom"]
        coord_soft_ce_w1 = custom["coord_soft_ce_w1"]
        rollout_matching = config["rollout_matching"]
        stage2_ab = config["stage2_ab"]
        channel_b = stage2_ab["channel_b"]
        schedule = stage2_ab["schedule"]
        return {
            "custom.coord_soft_ce_w1.ce_weight": coord_soft_ce_w1["ce_weight"],
            "custom.coord_soft_ce_w1.gate_weight": coord_soft_ce_w1["gate_weight"],
            "custom.coord_soft_ce_w1.soft_ce_weight": coord_soft_ce_w1["soft_ce_weight"],
            "custom.coord_soft_ce_w1.target_sigma": coord_soft_ce_w1["target_sigma"],
            "custom.coord_soft_ce_w1.target_truncate": coord_soft_ce_w1["target_truncate"],
            "custom.coord_soft_ce_w1.temperature": coord_soft_ce_w1["temperature"],
            "custom.coord_soft_ce_w1.w1_weight": coord_soft_ce_w1["w1_weight"],
            "custom.object_field_order": custom["object_field_order"],
            "custom.object_ordering": custom["object_ordering"],
            "rollout_matching.candidate_top_k": rollout_matching["candidate_top_k"],
            "rollout_matching.fn_cost": rollout_matching["fn_cost"],
            "rollout_matching.fp_cost": rollout_matching["fp_cost"],
            "rollout_matching.gate_weight": rollout_matching["gate_weight"],
            "rollout_matching.maskiou_gate": rollout_matching["maskiou_gate"],
            "rollout_matching.maskiou_resolution": rollout_matching["maskiou_resolution"],
            "rollout_matching.ot_cost": rollout_matching["ot_cost"],
            "rollout_matching.ot_epsilon": rollout_matching["ot_epsilon"],
            "rollout_matching.ot_iters": rollout_matching["ot_iters"],
            "rollout_matching.soft_ce_weight": rollout_matching["soft_ce_weight"],
            "rollout_matching.target_sigma": rollout_matching["target_sigma"],
            "rollout_matching.target_truncate": rollout_matching["target_truncate"],
            "rollout_matching.temperature_coord": rollout_matching["temperature_coord"],
            "rollout_matching.w1_weight": rollout_matching["w1_weight"],
            "stage2_ab.bbox_ciou_weight": stage2_ab["bbox_ciou_weight"],
            "stage2_ab.bbox_smoothl1_weight": stage2_ab["bbox_smoothl1_weight"],
            "stage2_ab.channel_b.drop_invalid_struct_ce_multiplier": channel_b["drop_invalid_struct_ce_multiplier"],
            "stage2_ab.coord_ce_weight": stage2_ab["coord_ce_weight"],
            "stage2_ab.coord_ehuber_weight": stage2_ab["coord_ehuber_weight"],
            "stage2_ab.coord_el1_weight": stage2_ab["coord_el1_weight"],
            "stage2_ab.coord_entropy_weight": stage2_ab["coord_entropy_weight"],
            "stage2_ab.coord_gate_weight": stage2_ab["coord_gate_weight"],
            "stage2_ab.coord_huber_delta": stage2_ab["coord_huber_delta"],
            "stage2_ab.desc_ce_weight": stage2_ab["desc_ce_weight"],
            "stage2_ab.n_softctx_iter": stage2_ab["n_softctx_iter"],
            "stage2_ab.schedule.b_ratio": schedule["b_ratio"],
            "stage2_ab.softctx_grad_mode": stage2_ab["softctx_grad_mode"],
            "stage2_ab.softctx_temperature": stage2_ab["softctx_temperature"],
        }
