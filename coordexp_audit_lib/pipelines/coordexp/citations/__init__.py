"""Where CoordExp's own specification demands what a claim demands: one module a boundary, each with its `CITATIONS`."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from coordexp_audit_lib.core.citation import Citation


def collect() -> dict[str, tuple[Citation, ...]]:
    """The citations of every boundary, by claim."""
    return {claim: cited for module in _modules() for claim, cited in module.CITATIONS.items()}


def permitted() -> dict[str, str]:
    """By claim that nothing demands, what the project's own words say instead: there the verdict is advice."""
    return {claim: why for module in _modules() for claim, why in getattr(module, "PERMITTED", {}).items()}


def _modules() -> list[Any]:
    return [importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)]
