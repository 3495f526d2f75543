"""Where CoordExp's own specification demands what a claim demands: one module a boundary.

Each has `CITATIONS`, as read at the reference commit, and may have `CHANGES`: era -> what is demanded elsewhere, or by
other words, there. What only moved is in `citing.MOVED`. `PERMITTED` says of claims that nothing demands what is said
instead, by era as well ("" is the reference commit, whose words hold where an era has none of its own). `BEYOND` says
of claims that are cited which of their violations the cited words do not demand, by a pattern of subject and message,
by era alike.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import lru_cache
from typing import Any

from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.pipelines.coordexp import citing


@lru_cache
def collect(era: str = "") -> dict[str, tuple[Citation, ...]]:
    """The citations of every boundary in an era, by claim; as read at the reference commit for an unknown era."""
    found: dict[str, tuple[Citation, ...]] = {}
    for module in _modules():
        found |= citing.in_era(module.CITATIONS, era, getattr(module, "CHANGES", {}).get(era, {}))
    return found


@lru_cache
def permitted(era: str = "") -> dict[str, str]:
    """By claim that nothing demands in an era, what the project's own words say instead: there the verdict is advice.

    What an era demands, its words do not permit.
    """
    cited = collect(era)
    found: dict[str, str] = {}
    for told in (getattr(module, "PERMITTED", {}) for module in _modules()):
        found |= {**told.get("", {}), **told.get(era, {})}
    return {claim: why for claim, why in found.items() if not cited.get(claim)}


@lru_cache
def beyond(era: str = "") -> dict[str, tuple[tuple[str, str], ...]]:
    """By claim, patterns of what its citations do not demand in an era, each with the reason."""
    found: dict[str, tuple[tuple[str, str], ...]] = {}
    for told in (getattr(module, "BEYOND", {}) for module in _modules()):
        found |= {**told.get("", {}), **told.get(era, {})}
    return found


def _modules() -> list[Any]:
    return [importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)]
