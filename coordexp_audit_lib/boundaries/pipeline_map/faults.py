"""How the map's faults break an answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace


def edited(field: str, edit: Callable[[Any], Any]) -> Callable[[Any, Callable[[Any], Any]], Any]:
    """A fault that gives the true answer with one field edited: `edit(value) -> value`."""

    def apply(request: Any, honest: Callable[[Any], Any]) -> Any:
        told = honest(request)
        return replace(told, **{field: edit(getattr(told, field))})

    return apply
