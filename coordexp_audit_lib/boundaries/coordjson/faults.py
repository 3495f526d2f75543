"""How faults of readers and writers are made: the question or the honest answer, changed in one thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.core.fault import Honest

Break = Callable[[Any, Honest], Any]


def asked(**changes: Callable[[Any], Any]) -> Break:
    """The honest answer to another question: each named field is what its function makes of the request."""
    return lambda request, honest: honest(replace(request, **{n: made(request) for n, made in changes.items()}))


def answered(**changes: Callable[[Any], Any]) -> Break:
    """Another answer: each named field is what its function makes of the honest answer."""

    def apply(request: Any, honest: Honest) -> Any:
        answer = honest(request)
        return replace(answer, **{n: made(answer) for n, made in changes.items()})

    return apply
