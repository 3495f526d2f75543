"""The data stage.

A skeleton: it takes its settings from the config, and that is all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]


class BaseCaptionDataset:
    """Records of a dataset file, checked and ordered as configured."""

    def settings(self, config: Config) -> dict[str, Any]:
        """What decides which records are read, and how they are checked and ordered."""
        custom = config["custom"]
        coord_tokens = custom["coord_tokens"]
        debug = config["debug"]
        template = config["template"]
        training = config["training"]
        return {
            "custom.augmentation": custom["augmentation"],
            "custom.augmentation_curriculum": custom["augmentation_curriculum"],
            "custom.bypass_prob": custom["bypass_prob"],
            "custom.coord_tokens.enabled": coord_tokens["enabled"],
            "custom.emit_norm": custom["emit_norm"],
            "custom.fusion_config": custom["fusion_config"],
            "custom.json_format": custom["json_format"],
            "custom.object_field_order": custom["object_field_order"],
            "custom.object_ordering": custom["object_ordering"],
            "custom.train_jsonl": custom["train_jsonl"],
            "custom.train_sample_limit": custom["train_sample_limit"],
            "custom.use_summary": custom["use_summary"],
            "custom.val_jsonl": custom["val_jsonl"],
            "custom.val_sample_limit": custom["val_sample_limit"],
            "custom.val_sample_with_replacement": custom["val_sample_with_replacement"],
            "debug.enabled": debug["enabled"],
            "debug.train_sample_limit": debug["train_sample_limit"],
            "debug.val_sample_limit": debug["val_sample_limit"],
            "template.max_pixels": template["max_pixels"],
            "training.seed": training["seed"],
        }
