"""The collator of Stage 1.

A skeleton: it takes its settings from the config, and that is all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]


def build_dataset_metrics_collator(config: Config) -> dict[str, Any]:
    """What decides which extras travel with a batch."""
    custom = config["custom"]
    token_type_metrics = custom["token_type_metrics"]
    training = config["training"]
    return {
        "custom.token_type_metrics.enabled": token_type_metrics["enabled"],
        "custom.token_type_metrics.exclude": token_type_metrics["exclude"],
        "custom.token_type_metrics.include": token_type_metrics["include"],
        "training.per_device_eval_batch_size": training["per_device_eval_batch_size"],
    }
