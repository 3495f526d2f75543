"""The schema of Stage 2 AB.

A skeleton: it takes its settings from the config, and that is all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]


class Stage2ABConfig:
    """The section that schedules the channels and weighs their losses."""

    @classmethod
    def from_mapping(cls, config: Config) -> Config:
        """The section, which must be there."""
        section: Config = config["stage2_ab"]
        return section
