"""Text from outside, made visible: no control, bidi or unseen character, escape code or lone surrogate survives."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

_SIGNS = {"\n": "⏎", "\t": "⇥", "\r": "␍"}
_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
)  # printable by their category, yet nothing is seen
_MARKS = 3  # combining marks in a row; longer piles are drawn over the neighbouring lines


BREAK = re.compile(r"(?<=\w)([_./:]+)(?=[^\W\d])")  # where a path, a key or a symbol may go on in the next line


def visible(value: Any) -> str:
    """`str(value)` on one line: line breaks as signs, other unseen characters as `\\xNN`, `\\uNNNN`, `\\UNNNNNNNN`."""
    text = str(value)
    if text.isascii() and text.isprintable():
        return text
    return "".join(_SIGNS.get(c) or c for c in _seen(text))


def printable(value: Any) -> str:
    """Like `visible`, but tabs become spaces and line breaks stay (`\\r` and the Unicode ones are shown)."""
    return "\n".join(
        "".join(_SIGNS.get(c) or c for c in _seen(line.replace("\t", "    "))) for line in str(value).split("\n")
    )


def shown(value: Any, limit: int = 400) -> str:
    """A value of a finding on one line: text as it is, anything else as JSON; cut at `limit` characters."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return cut(visible(text), limit)


def spot(where: Mapping[str, Any] | None) -> str:
    """A place of a document as `path:line`; "" for none."""
    return f"{where['path']}:{where['line']}" if where else ""


def placed(violation: Mapping[str, Any]) -> str:
    """A violation's message behind its place."""
    where = spot(violation["where"])
    return f"{where}: {violation['message']}" if where else violation["message"]


def breakable(text: str) -> str:
    """The text as HTML in which a browser may go on in the next line after a path's or a symbol's punctuation."""
    return "<wbr>".join(html.escape(part) for part in BREAK.sub("\\1\0", text).split("\0"))


def cut(text: str, limit: int) -> str:
    """`text` if it has at most `limit` characters; else its beginning and its length, `limit` characters in all."""
    if len(text) <= limit:
        return text
    tail = f"… (of {len(text)} characters)"
    return text[: max(0, limit - len(tail))] + tail


def shortened(text: str, limit: int) -> str:
    """`text` if it has at most `limit` characters; else its first words and an ellipsis."""
    if len(text) <= limit:
        return text
    kept, _, rest = text[: limit - 1].rpartition(" ")
    return f"{kept or rest}…"


def _seen(text: str) -> list[str]:
    """One string per character: itself if it can be seen, one of the signs' keys, or its escape."""
    made: list[str] = []
    marks = 0
    for c in text:
        mark = unicodedata.category(c) in ("Mn", "Me")
        marks = marks + 1 if mark else 0
        # A mark on nothing would be drawn over what stands before the text; a pile of them over other lines.
        hidden = mark and (not made or marks > _MARKS or 0xFE00 <= ord(c) <= 0xFE0F or ord(c) >= 0xE0100)
        plain = c in _SIGNS or (c.isprintable() and c not in _BLANK and not hidden)
        made.append(c if plain else _escaped(ord(c)))
    return made


def _escaped(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
