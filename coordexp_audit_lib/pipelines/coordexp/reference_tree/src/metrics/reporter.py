"""Evaluation and metrics.

A skeleton: it takes its settings from the config, and that is all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]


class SwiftMetricReporter:
    """Reports metrics under one name space."""

    def settings(self, config: Config) -> dict[str, Any]:
        """What decides on what, and by which metric, a run is evaluated."""
        custom = config["custom"]
        training = config["training"]
        return {
            "custom.val_jsonl": custom["val_jsonl"],
            "custom.val_sample_limit": custom["val_sample_limit"],
            "training.greater_is_better": training["greater_is_better"],
            "training.metric_for_best_model": training["metric_for_best_model"],
            "training.per_device_eval_batch_size": training["per_device_eval_batch_size"],
        }
