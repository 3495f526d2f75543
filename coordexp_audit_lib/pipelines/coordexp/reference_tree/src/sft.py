"""The training program: loads the config and sets a trainer up.

A skeleton: it takes its settings from the config, and that is all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from src.config.loader import ConfigLoader

Config = Mapping[str, Any]


def _parse_packing_config(config: Config) -> dict[str, Any]:
    """What decides whether and how samples are packed."""
    model = config["model"]
    template = config["template"]
    training = config["training"]
    return {
        "global_max_length": config["global_max_length"],
        "model.attn_impl": model["attn_impl"],
        "template.truncation_strategy": template["truncation_strategy"],
        "training.effective_batch_size": training["effective_batch_size"],
        "training.eval_packing": training["eval_packing"],
        "training.packing": training["packing"],
        "training.packing_buffer": training["packing_buffer"],
        "training.packing_drop_last": training["packing_drop_last"],
        "training.packing_min_fill_ratio": training["packing_min_fill_ratio"],
        "training.per_device_train_batch_size": training["per_device_train_batch_size"],
    }


def trainer_settings(config: Config) -> dict[str, Any]:
    """What decides the model, its tuner, its optimizer and the length of a run."""
    custom = config["custom"]
    coord_offset = custom["coord_offset"]
    coord_soft_ce_w1 = custom["coord_soft_ce_w1"]
    debug = config["debug"]
    deepspeed = config["deepspeed"]
    model = config["model"]
    training = config["training"]
    tuner = config["tuner"]
    return {
        "custom.trainer_variant": custom["trainer_variant"],
        "custom.visual_kd": custom["visual_kd"],
        "debug.enabled": debug["enabled"],
        "debug.output_dir": debug["output_dir"],
        "deepspeed.config": deepspeed["config"],
        "deepspeed.enabled": deepspeed["enabled"],
        "global_max_length": config["global_max_length"],
        "model.model": model["model"],
        "training.effective_batch_size": training["effective_batch_size"],
        "training.output_dir": training["output_dir"],
        "training.per_device_train_batch_size": training["per_device_train_batch_size"],
        "training.run_name": training["run_name"],
        "custom.coord_offset.dtype": coord_offset["dtype"],
        "custom.coord_offset.embed_lr": coord_offset["embed_lr"],
        "custom.coord_offset.enabled": coord_offset["enabled"],
        "custom.coord_offset.head_lr": coord_offset["head_lr"],
        "custom.coord_offset.ids": coord_offset["ids"],
        "custom.coord_offset.tie_head": coord_offset["tie_head"],
        "custom.coord_offset.weight_decay": coord_offset["weight_decay"],
        "custom.coord_soft_ce_w1.enabled": coord_soft_ce_w1["enabled"],
        "training.learning_rate": training["learning_rate"],
        "training.num_train_epochs": training["num_train_epochs"],
        "tuner.lora_alpha": tuner["lora_alpha"],
        "tuner.lora_rank": tuner["lora_rank"],
        "tuner.modules_to_save": tuner["modules_to_save"],
        "tuner.train_type": tuner["train_type"],
    }


def main(config_path: str) -> dict[str, Any]:
    """Load a config, hand its sections over to upstream, and set the trainer up."""
    config = ConfigLoader.load_materialized_training_config(config_path)
    return {**ConfigLoader.build_train_arguments(config), **trainer_settings(config), **_parse_packing_config(config)}
