"""Tools that the faults of several claims share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coordexp_audit_lib.boundaries.template import reference
from coordexp_audit_lib.boundaries.template import surfaces as s
from coordexp_audit_lib.core.fault import Honest, answered


def each(change: Callable[[s.Encoded], s.Encoded]) -> Callable[[Any, Honest], Any]:
    """Every record's own encoding changed; the padded batch stays."""
    return answered(unpacked=lambda made: [change(e) for e in made.unpacked])


def prompts(request: Any) -> tuple[str, str]:
    """System and user prompt of a `PromptRequest` or `RolloutRequest`."""
    return reference.prompts(request.ordering, request.field_order, request.variant)


def prompt_ids(system: str, user: str) -> list[int]:
    """The fixed sample's prompt, up to where the answer begins."""
    return reference.Template(system).encode(reference.FIXED, user, whole=False).input_ids
