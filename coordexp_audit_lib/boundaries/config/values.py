"""What a value of a config may be. A kind is a function `(value, path) -> problems`; a section is a kind of mapping."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.config.contract import finite_number
from coordexp_audit_lib.core.errors import one_line


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong with a config: the dotted path, what was expected and found, what to do, and the
    invariant that it breaks."""

    path: str
    what: str
    remedy: str
    claim: str = "config.value_range"

    def __str__(self) -> str:
        return one_line(self.what, self.path, self.remedy)


Kind = Callable[[Any, str], Iterator[Problem]]


def number(low: float | None = None, high: float | None = None, *, above: float | None = None) -> Kind:
    """A finite number in [low, high], or greater than `above`. A bool or a numeric text is none."""
    return _bounded(finite_number, "a finite number", low, high, above)


def whole(low: int | None = None, high: int | None = None) -> Kind:
    """An int in [low, high]. A bool, a numeric text or a fraction is none."""
    return _bounded(lambda v: isinstance(v, int) and not isinstance(v, bool), "an int", low, high, None)


def _bounded(
    fits: Callable[[Any], bool], noun: str, low: float | None, high: float | None, above: float | None
) -> Kind:
    def check(value: Any, path: str) -> Iterator[Problem]:
        inside = (
            fits(value)
            and (low is None or value >= low)
            and (high is None or value <= high)
            and (above is None or value > above)
        )
        if not inside:
            bounds = [f">= {low}"] * (low is not None) + [f"<= {high}"] * (high is not None)
            wanted = " and ".join([noun, *bounds, *([f"> {above}"] * (above is not None))])
            yield Problem(path, f"expected {wanted}, found {value!r}", f"set it to {wanted}")

    return check


def flag(must: bool | None = None) -> Kind:
    """A bool, and that one if `must` is given."""

    def check(value: Any, path: str) -> Iterator[Problem]:
        if not isinstance(value, bool) or (must is not None and value is not must):
            wanted = "true or false" if must is None else str(must).lower()
            claim = "config.value_range" if must is None else "config.coord_mode_mandatory"
            yield Problem(path, f"expected {wanted}, found {value!r}", f"set it to {wanted}", claim)

    return check


def text(*choices: str) -> Kind:
    """A non-empty text, one of `choices` if there are any."""

    def check(value: Any, path: str) -> Iterator[Problem]:
        if not isinstance(value, str) or not value or (choices and value not in choices):
            wanted = f"one of {', '.join(choices)}" if choices else "a non-empty text"
            yield Problem(path, f"expected {wanted}, found {value!r}", f"set it to {wanted}")

    return check


def anything(value: Any, path: str) -> Iterator[Problem]:
    """Whatever upstream makes of it."""
    yield from ()


def free(value: Any, path: str) -> Iterator[Problem]:
    """A mapping with any keys: an escape hatch, or one that upstream owns."""
    if not isinstance(value, Mapping):
        yield Problem(path, f"expected a mapping, found {value!r}", "set it to a mapping")


def optional(kind: Kind) -> Kind:
    """That kind, or null."""

    def check(value: Any, path: str) -> Iterator[Problem]:
        if value is not None:
            yield from kind(value, path)

    return check


def items(kind: Kind, at_least: int = 0) -> Kind:
    """A list of that kind."""

    def check(value: Any, path: str) -> Iterator[Problem]:
        if not isinstance(value, list) or len(value) < at_least:
            wanted = f"a list of at least {at_least} items" if at_least else "a list"
            yield Problem(path, f"expected {wanted}, found {value!r}", f"set it to {wanted}")
            return
        for i, item in enumerate(value):
            yield from kind(item, f"{path}[{i}]")

    return check


def section(
    keys: Mapping[str, Kind], *, required: Sequence[str] = (), removed: Mapping[str, str] | None = None
) -> Kind:
    """A mapping with these keys and no others. removed: keys of the past, each with what to do instead."""
    gone = removed or {}

    def check(value: Any, path: str) -> Iterator[Problem]:
        if not isinstance(value, Mapping):
            yield Problem(path, f"expected a mapping, found {value!r}", "set it to a mapping")
            return
        for key in value:
            if key not in keys:
                yield _unknown(key, f"{path}.{key}" if path else str(key), gone, keys)
        for key in required:
            if key not in value:
                missing = f"{path}.{key}" if path else key
                yield Problem(missing, "the key is required and missing", "set it", "config.required_key")
        for key, kind in keys.items():
            if key in value:
                yield from kind(value[key], f"{path}.{key}" if path else key)

    return check


def _unknown(key: object, path: str, gone: Mapping[str, str], keys: Mapping[str, Kind]) -> Problem:
    if isinstance(key, str) and key in gone:
        return Problem(path, "the key was removed", gone[key], "config.removed_key_rejected")
    near = difflib.get_close_matches(str(key), list(keys), n=1)
    remedy = f"did you mean {near[0]}? Otherwise remove it" if near else "remove it; free knobs belong in custom.extra"
    return Problem(path, "unknown key", remedy, "config.unknown_key_rejected")
