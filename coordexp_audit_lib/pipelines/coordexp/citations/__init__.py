"""Where CoordExp's own specification demands what a claim demands: one module a boundary, each with its `CITATIONS`."""

from __future__ import annotations

import importlib
import pkgutil

from coordexp_audit_lib.core.citation import Citation


def collect() -> dict[str, tuple[Citation, ...]]:
    """The citations of every boundary, by claim."""
    modules = (importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__))
    return {claim: cited for module in modules for claim, cited in module.CITATIONS.items()}
