"""One record of a data file as text: read fast where nothing can be lost by it, else with care."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec


class Line(msgspec.Struct, frozen=True):
    """A line read with care. value: what it holds. twice: keys that stand twice in one object. error: it is no JSON."""

    value: Any = None
    twice: tuple[str, ...] = ()
    error: str = ""


def read_line(line: bytes) -> Line:
    """Read a line with Python's own parser, which can tell of a key that stands twice."""
    twice: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(items)
        if len(made) != len(items):
            names = [k for k, _ in items]
            twice.extend(sorted({k for k in names if names.count(k) > 1}))
        return made

    try:
        value = json.loads(line, object_pairs_hook=pairs, parse_constant=lambda word: word)
    except (ValueError, RecursionError) as error:
        return Line(error=str(error))
    return Line(value, tuple(twice))


_ESCAPED_ASCII = re.compile(rb"\\u00[2-7]")
_TOP_KEYS = (b'"images"', b'"objects"', b'"width"', b'"height"')


def quick_line(line: bytes) -> Line | None:
    """The line by a faster parser, which judges nothing; None where it must be read with care."""
    try:
        value = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    objects = value.get("objects") if isinstance(value, dict) else None
    return Line(value) if isinstance(objects, list) and _each_key_once(line, value, objects) else None


def _each_key_once(line: bytes, value: dict[str, Any], objects: list[Any]) -> bool:
    """Whether no key stands twice: the faster parser takes the last of two without a word.

    Each key needs a colon: where the line has no more of them than keys were read, none was lost. Otherwise keys are
    counted by name; where a key is not written as often as expected, or an escaped ASCII character could spell one, the
    line is read with care.
    """
    try:
        if line.count(b":") == len(value) + sum(map(dict.__len__, objects)):
            return True
    except TypeError:  # an object that is none
        return False
    if _ESCAPED_ASCII.search(line):
        return False
    geometries = line.count(b'"bbox_2d"') + line.count(b'"poly"')
    once = geometries == len(objects) == line.count(b'"desc"')
    return once and all(line.count(k) == 1 for k in _TOP_KEYS)
