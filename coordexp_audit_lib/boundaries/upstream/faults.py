"""How an answer is broken by a fault of this boundary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from coordexp_audit_lib.core.fault import Honest, answered
from coordexp_audit_lib.source.facts import Seen

changed = msgspec.structs.replace
Break = Callable[[Any, Honest], Any]


def seen(symbol: str, change: Callable[[Seen], Seen]) -> Break:
    """The honest answer with the facts of one symbol, by the end of its name, changed."""
    return answered(seen=lambda api: [change(k) if k.symbol.endswith(symbol) else k for k in api.seen])


def without(symbol: str) -> Break:
    """The honest answer, but that a symbol is gone."""
    return seen(symbol, lambda k: Seen(k.symbol, "gone", why="it is not there"))


def without_field(symbol: str, name: str, **more: Any) -> Break:
    """The honest answer, but that a symbol lacks a field."""
    return seen(symbol, lambda k: changed(k, fields=[f for f in k.fields if f.name != name], **more))
