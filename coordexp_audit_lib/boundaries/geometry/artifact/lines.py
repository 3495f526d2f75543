"""One record of a data file as text: read fast where nothing can be lost by it, else with care."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import msgspec
import numpy as np

MAX_VALUES = 2_000_000
"""Values of one record that are read: a line of 60 MiB that is all brackets becomes gigabytes of objects."""
COLON = ord(":")
BOM = b"\xef\xbb\xbf"
_LONG = 1 << 20  # a shorter line can't hold so many values
_AT = re.compile(r"\(byte (\d+)\)")
_NO_JSON = (b"NaN", b"Infinity", b"-Infinity")
_LONE = re.compile(
    rb"(?<!\\)(?:\\\\)*(?:\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F])"
)


class Line(msgspec.Struct, frozen=True):
    """A line read with care. value: what it holds. twice: keys that stand twice in one object. error: it is no JSON.
    at: the byte of the line at which that shows. unread: whether it could not even be read as a line."""

    value: Any = None
    twice: tuple[str, ...] = ()
    error: str = ""
    at: int = 0
    unread: bool = False


def read_line(line: bytes) -> Line:
    """Read a line by a strict decoder, then by Python's own parser, which can tell of a key that stands twice."""
    broken = _too_much(line) or _foreign(line)
    if broken:
        return broken
    try:
        msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return _told(line, error)
    twice: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(items)
        if len(made) != len(items):
            twice.extend(sorted(k for k, n in Counter(k for k, _ in items).items() if n > 1))
        return made

    try:
        value = json.loads(line.decode(), object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        return _told(line, error)
    return Line(value, tuple(twice))


def _too_much(line: bytes) -> Line | None:
    if len(line) < _LONG or sum(map(line.count, (b",", b"[", b"{"))) <= MAX_VALUES:
        return None
    return Line(error=f"it holds more than {MAX_VALUES} values, which no record has; it was not expanded")


def _foreign(line: bytes) -> Line | None:
    """What is wrong with the bytes themselves, and where."""
    if line.startswith(BOM):
        return Line(error="a byte order mark stands in the middle of the file, as where two were joined")
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return Line(error=f"byte {line[error.start]:#04x} is no UTF-8: {error.reason}", at=error.start)
    nul = line.find(b"\0")
    return None if nul < 0 else Line(error="a NUL byte", at=nul)


def _told(line: bytes, error: Exception) -> Line:
    """Why a decoder refused a line, and where, as far as it says."""
    found = _AT.search(str(error))
    at = int(found[1]) if found else 0
    word = next((w for w in _NO_JSON if line.startswith(w, at)), b"") if found else b""
    if word:
        return Line(error=f"{word.decode()} is no JSON", at=at)
    lone = _LONE.search(line) if b"\\u" in line else None
    if lone:
        return Line(error="half a surrogate pair, which no UTF-8 can hold", at=lone.start())
    if isinstance(error, RecursionError):
        return Line(error="it is nested deeper than any record")
    if "truncated" in str(error):
        return Line(error="it ends in the middle of a value", at=len(line.rstrip()))
    return Line(error=_AT.sub("", str(error)).removeprefix("JSON is malformed: ").strip(), at=at)


def quick_line(line: bytes) -> Line | None:
    """The line by a faster parser, which judges nothing; None where it must be read with care."""
    if _too_much(line):
        return None
    try:
        value = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return Line(value) if isinstance(value, dict) and each_key_once(line, keys_of(value)) else None


def keys_of(value: Any) -> int:
    """How many keys the objects of a value have, all told."""
    if isinstance(value, dict):
        inner = [v for v in value.values() if isinstance(v, (dict, list))]
        return len(value) + (sum(map(keys_of, inner)) if inner else 0)
    inner = [v for v in value if isinstance(v, (dict, list))]
    return sum(map(keys_of, inner)) if inner else 0


def each_key_once(text: bytes, keys: int) -> bool:
    """Whether no key stands twice in `text`, of which a decoder that takes the last of two in silence read `keys`.

    Each key needs a colon: where there are no more of them than keys were read, none was lost. Colons within texts are
    told apart by the quotation mark before them, which a text would have to escape.
    """
    colons = np.count_nonzero(np.frombuffer(text, np.uint8) == COLON) if len(text) > 4096 else text.count(b":")
    if colons == keys:
        return True
    if any(spaced in text for spaced in (b" :", b"\t:", b"\r:", b"\n:", b'\\\\":')):
        return False
    return text.count(b'":') - text.count(b'\\":') == keys
