"""Text from outside, made visible: no control character, escape sequence or lone surrogate survives."""

from __future__ import annotations

from typing import Any

_KEPT = {"\n": "⏎", "\t": "⇥", "\r": "␍"}


def visible(value: Any) -> str:
    """`str(value)` in which every unprintable character is shown as a symbol or as `\\xNN`/`\\uNNNN`."""
    return "".join(_shown(c) for c in str(value))


def _shown(c: str) -> str:
    if c in _KEPT:
        return _KEPT[c]
    if c == " " or c.isprintable():
        return c
    code = ord(c)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
