"""Packs after a rollout.

A skeleton: it takes its settings from the config, and that is all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]


class DropRemainderAccumulationWindow:
    """Drops an epoch's last, incomplete accumulation window."""

    def settings(self, config: Config) -> dict[str, Any]:
        """What decides whether incomplete windows are dropped."""
        training = config["training"]
        return {
            "training.dataloader_drop_last": training["dataloader_drop_last"],
        }
