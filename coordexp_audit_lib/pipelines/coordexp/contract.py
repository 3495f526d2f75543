"""What CoordExp promises, as values that claims read through `ctx.contract["boundary.name"]`, by era."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REFERENCE: dict[str, Any] = {}

# Era -> what differs from the reference commit's contract.
CHANGES: dict[str, dict[str, Any]] = {}


def of_era(era: str = "") -> Mapping[str, Any]:
    """The contract of an era; that of the reference commit for an unknown one."""
    return {**REFERENCE, **CHANGES.get(era, {})}
