"""A schema of plain values, and what is wrong with a config by it.

A schema maps keys to kinds. A key ends in `!` if it is required, in `?` if it may be null. A kind is one of

    any                     whatever upstream makes of it
    free                    a mapping with any keys
    flag, true              a bool; true and nothing else
    text, text a|b          a text that is not empty; one of these
    number, number 0..1     a finite number; in [0, 1], `0..` without an upper bound, `>0` above it; a bool is none
    int 0..                 the same for whole numbers
    [kind], [kind, 1]       a list; with at least one item
    {key: kind}             a mapping with these keys and no others
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from coordexp_audit_lib.core.errors import one_line
from coordexp_audit_lib.core.problem import Problem

RANGE = "config.value_range"
SUGGESTED = 20  # unknown keys of a section that are compared with the known ones
LONGEST = 80
MANY = 2000  # characters, entries or bits: a larger value is not written out


class Broken(NamedTuple):
    """A claim, by its id, and how a config breaks it: the problem's subject is the dotted path of the key, what it
    expects is what to do."""

    claim: str
    problem: Problem

    def __str__(self) -> str:
        return one_line(self.problem.message, self.problem.subject, str(self.problem.expected))


def broken(path: str, what: str, remedy: str, claim: str = RANGE) -> Broken:
    return Broken(claim, Problem(what, path, remedy))


class Schema:
    """Judges a mapping by a schema of plain values.

    removed: keys of the past by dotted path, each with what to do instead. escape: the mapping that takes free keys.
    """

    def __init__(self, keys: Mapping[str, Any], removed: Mapping[str, str], escape: str) -> None:
        self.keys, self.removed, self.escape = keys, removed, escape

    def check(self, value: Any, path: str = "", kind: Any = None) -> Iterator[Broken]:
        """What is wrong with a value of a kind (the whole schema by default) at a dotted path."""
        kind = self.keys if kind is None else kind
        if isinstance(kind, str):
            wanted = _misfit(kind, value)
            if wanted:
                claim = "config.coord_mode_mandatory" if kind == "true" else RANGE
                yield broken(path, f"expected {wanted}, found {shown(value)}", f"set it to {wanted}", claim)
        elif isinstance(kind, list):
            yield from self._items(value, path, *kind)
        elif isinstance(value, Mapping):
            yield from self._section(value, path, kind)
        else:
            yield broken(path, f"expected a mapping, found {shown(value)}", "set it to a mapping")

    def _items(self, value: Any, path: str, kind: Any, at_least: int = 0) -> Iterator[Broken]:
        if not isinstance(value, list) or len(value) < at_least:
            wanted = f"a list of at least {at_least} items" if at_least else "a list"
            yield broken(path, f"expected {wanted}, found {shown(value)}", f"set it to {wanted}")
            return
        for i, item in enumerate(value):
            yield from self.check(item, f"{path}[{i}]", kind)

    def _section(self, value: Mapping[str, Any], path: str, keys: Mapping[str, Any]) -> Iterator[Broken]:
        below = {key: f"{path}.{key}" if path else str(key) for key in value}
        known = {key.rstrip("!?"): key for key in keys}
        names = list(known)
        unknown = [key for key in value if key not in known]
        for n, key in enumerate(unknown):
            yield self._unknown(key, below[key], names if n < SUGGESTED else [])
        for key, marked in known.items():
            if marked.endswith("!") and key not in value:
                missing = f"{path}.{key}" if path else key
                yield broken(missing, "the key is required and missing", "set it", "config.required_key")
        for key, marked in known.items():
            if key in value and not (marked.endswith("?") and value[key] is None):
                yield from self.check(value[key], below[key], keys[marked])

    def _unknown(self, key: object, path: str, known: list[str]) -> Broken:
        gone = self.removed.get(path)
        if gone is not None:
            return broken(path, "the key was removed", gone, "config.removed_key_rejected")
        near = difflib.get_close_matches(str(key)[:LONGEST], known, n=1) if known else []  # it costs, known or not
        free = f"remove it; free knobs belong in {self.escape}"
        remedy = f"did you mean {near[0]}? Otherwise remove it" if near else free
        return broken(path, "unknown key", remedy, "config.unknown_key_rejected")


def shown(value: Any) -> str:
    """A value in a message: as Python writes it if that is short, else its type and size."""
    if _is_small(value):
        return repr(value)
    if isinstance(value, int):
        return f"an integer of {value.bit_length()} bits"
    return f"{type(value).__name__} of {len(value)} {'characters' if isinstance(value, str) else 'entries'}"


def _is_small(value: Any) -> bool:
    waiting, seen = [value], 0
    while waiting:
        one = waiting.pop()
        seen += len(one) if isinstance(one, (str, dict, list)) else 1
        if seen > MANY or (isinstance(one, int) and one.bit_length() > MANY):
            return False
        waiting += [*one, *one.values()] if isinstance(one, dict) else one if isinstance(one, list) else []
    return True


def finite_number(value: Any) -> bool:
    """An int or float that is neither a bool nor NaN nor infinite, nor beyond what a float holds."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


class _Bounds(NamedTuple):
    low: float = -math.inf
    high: float = math.inf
    above: float = -math.inf

    def hold(self, value: float) -> bool:
        return self.above < value and self.low <= value <= self.high

    def words(self) -> list[str]:
        signs = zip((">=", "<=", ">"), self, strict=True)
        return [f"{sign} {bound}" for sign, bound in signs if math.isfinite(bound)]


@lru_cache
def _bounds(text: str) -> _Bounds:
    if text.startswith(">"):
        return _Bounds(above=int(text[1:]))
    low, _, high = text.partition("..")
    return _Bounds(int(low) if low else -math.inf, int(high) if high else math.inf)


def _misfit(kind: str, value: Any) -> str:
    """What a value should be and is not; empty if it is."""
    noun, _, detail = kind.partition(" ")
    if noun in ("number", "int"):
        bounds, whole = _bounds(detail), noun == "int"
        fits = isinstance(value, int) and not isinstance(value, bool) if whole else finite_number(value)
        name = "an int" if whole else "a finite number"
        return "" if fits and bounds.hold(value) else " and ".join([name, *bounds.words()])
    if noun == "text":
        choices = detail.split("|") if detail else []
        fits = isinstance(value, str) and bool(value) and (not choices or value in choices)
        return "" if fits else f"one of {', '.join(choices)}" if choices else "a non-empty text"
    if noun == "flag":
        return "" if isinstance(value, bool) else "true or false"
    if noun == "true":
        return "" if value is True else "true"
    return "a mapping" if noun == "free" and not isinstance(value, Mapping) else ""
