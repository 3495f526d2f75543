"""The coordinate loss of Stage 1, and its parameter groups.

A skeleton: it takes its settings from the config, and that is all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]


def compute_coord_soft_ce_w1_loss(config: Config) -> dict[str, Any]:
    """What weighs and shapes the terms of the loss."""
    custom = config["custom"]
    coord_soft_ce_w1 = custom["coord_soft_ce_w1"]
    training = config["training"]
    return {
        "custom.coord_soft_ce_w1.ce_weight": coord_soft_ce_w1["ce_weight"],
        "custom.coord_soft_ce_w1.gate_weight": coord_soft_ce_w1["gate_weight"],
        "custom.coord_soft_ce_w1.soft_ce_weight": coord_soft_ce_w1["soft_ce_weight"],
        "custom.coord_soft_ce_w1.target_sigma": coord_soft_ce_w1["target_sigma"],
        "custom.coord_soft_ce_w1.target_truncate": coord_soft_ce_w1["target_truncate"],
        "custom.coord_soft_ce_w1.temperature": coord_soft_ce_w1["temperature"],
        "custom.coord_soft_ce_w1.w1_weight": coord_soft_ce_w1["w1_weight"],
        "training.aligner_lr": training["aligner_lr"],
        "training.vit_lr": training["vit_lr"],
        "training.weight_decay": training["weight_decay"],
    }
