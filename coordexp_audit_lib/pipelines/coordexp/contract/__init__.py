"""What CoordExp promises, as values that claims read through `ctx.contract["boundary.name"]`: one module a boundary.

Each module has `CONTRACT` (of the reference commit) and may have `CHANGES` (era -> what differs from there on): of a
later era than the reference's what came with it, of an earlier one what held up to its end.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from coordexp_audit_lib.pipelines.coordexp import eras

REFERENCE = "2026-02"  # the era of the reference commit


@lru_cache
def of_era(era: str = "") -> Mapping[str, Any]:
    """The contract of an era; that of the reference commit for an unknown one."""
    made: dict[str, Any] = {}
    known = [eras.OLDEST, *(name for name, _ in reversed(eras.ERAS))]
    way: list[str] = []  # from the reference's era to this one, in time or against it
    if era in known:
        here, there = known.index(REFERENCE), known.index(era)
        way = known[here : there + 1] if there >= here else known[there : here + 1][::-1]
    for found in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{found.name}")
        made |= module.CONTRACT
        for passed in way:
            made |= getattr(module, "CHANGES", {}).get(passed, {})
    return made
