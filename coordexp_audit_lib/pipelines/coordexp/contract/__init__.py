"""What CoordExp promises, as values that claims read through `ctx.contract["boundary.name"]`: one module a boundary.

Each module has `CONTRACT` (of the reference commit) and may have `CHANGES` (era -> what differs there).
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import lru_cache
from typing import Any


@lru_cache
def of_era(era: str = "") -> Mapping[str, Any]:
    """The contract of an era; that of the reference commit for an unknown one."""
    made: dict[str, Any] = {}
    for found in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{found.name}")
        made |= module.CONTRACT
        made |= getattr(module, "CHANGES", {}).get(era, {})
    return made
