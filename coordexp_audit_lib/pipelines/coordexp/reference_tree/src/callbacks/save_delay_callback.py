"""Delayed saves.

A skeleton: it takes its settings from the config, and that is all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]


class SaveDelayCallback:
    """Holds checkpoints back at the start of a run."""

    def settings(self, config: Config) -> dict[str, Any]:
        """What decides when the first checkpoint may be written."""
        training = config["training"]
        return {
            "training.save_delay_steps": training["save_delay_steps"],
        }
