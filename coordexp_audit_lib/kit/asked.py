"""Requests as an adapter reads them. Standard library only."""

from __future__ import annotations

from typing import Any


class Asked(dict[str, Any]):
    """A request: its fields by name or as attributes, those of what it holds too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError("the request has no %r: it has %s" % (name, ", ".join(self))) from None


def asked(value: Any) -> Any:
    """A request as it came, with its objects as `Asked`."""
    if isinstance(value, dict):
        return Asked((k, asked(v)) for k, v in value.items())
    return [asked(v) for v in value] if isinstance(value, list) else value
