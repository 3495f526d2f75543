"""Loaders that are broken on purpose: tools for the faults that stand below their claims."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from coordexp_audit_lib.boundaries.config.surfaces import LOAD, LoadRequest
from coordexp_audit_lib.core.claim import Claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.surface import Refuse

Apply = Callable[[Any, Honest], Any]


def overlooks(pattern: str, when: Callable[[LoadRequest], bool] = lambda request: True) -> Apply:
    """Answer with the untouched anchored config where the refusal matches `pattern`: the flaw goes unnoticed. when: in
    which requests."""

    def apply(request: LoadRequest, honest: Honest) -> Any:
        try:
            return honest(request)
        except Refuse as refused:
            if re.search(pattern, str(refused)) and when(request):
                return honest(LoadRequest(pipeline().configs[-1], depth=request.depth))
            raise

    return apply


def is_null(key: str) -> Callable[[LoadRequest], bool]:
    """Whether a file of the request sets a key of that name, a pattern, to null."""
    return lambda request: any(re.search(rf'"{key}": null', text) for text in request.files.values())


def overlooked(claim: Claim, **faults: tuple[str, str]) -> None:
    """Faults of loading that the claim must find, by name: the refusals that are overlooked, and the summary."""
    for name, (pattern, summary) in faults.items():
        fault(claim, name, LOAD, summary)(overlooks(pattern))
