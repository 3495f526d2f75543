"""The metrics of Stage 1.

A skeleton: it takes its settings from the config, and that is all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]


class AggregateTokenTypeMetricsMixin:
    """Metrics by token type."""

    def settings(self, config: Config) -> dict[str, Any]:
        """What decides which token metrics are taken."""
        custom = config["custom"]
        token_type_metrics = custom["token_type_metrics"]
        return {
            "custom.token_type_metrics.coord_monitor_mass": token_type_metrics["coord_monitor_mass"],
            "custom.token_type_metrics.coord_monitor_mass_max_tokens": token_type_metrics[
                "coord_monitor_mass_max_tokens"
            ],
            "custom.token_type_metrics.enabled": token_type_metrics["enabled"],
            "custom.token_type_metrics.log_top5": token_type_metrics["log_top5"],
        }
