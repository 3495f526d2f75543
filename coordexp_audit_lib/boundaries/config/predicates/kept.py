"""Whether what a config states is what is loaded: number by number, switch by switch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.nested import Path, dotted

Number = float | bool
LOADED = "the loaded config"


class Kept(msgspec.Struct, frozen=True):
    """stated: a resolved config. loaded: the same after loading. where: what was loaded, in a few words."""

    stated: Mapping[str, Any]
    loaded: Mapping[str, Any]
    where: str


def values_kept(one: Kept, ledger: Ledger) -> Iterator[Problem]:
    """Every number and switch that stands in both is the same in both. Counts them.

    A number that is loaded as a list or a mapping has another meaning there, and is not compared.
    """
    for path, stated, loaded in pairs(one.stated, one.loaded):
        ledger.judged()
        if number(stated) != number(loaded) or isinstance(stated, bool) != isinstance(loaded, bool):
            yield other(dotted(path), stated, loaded, one.where)


def other(key: str, stated: Any, loaded: Any, where: str) -> Problem:
    """What is told of a value that is another."""
    return Problem(f"{key} is {loaded!r} in {where}, and not what was set", key, stated, loaded, {key: stated})


def pairs(stated: Any, loaded: Any, path: Path = ()) -> Iterator[tuple[Path, Any, Any]]:
    """Each number or switch that is stated, with what stands in its place; a text may hold a number."""
    if isinstance(stated, Mapping) and isinstance(loaded, Mapping):
        for key in sorted(stated.keys() & loaded.keys(), key=str):
            yield from pairs(stated[key], loaded[key], (*path, key))
    elif isinstance(stated, list) and isinstance(loaded, list) and len(stated) == len(loaded):
        for i, (a, b) in enumerate(zip(stated, loaded, strict=True)):
            yield from pairs(a, b, (*path, i))
    else:
        a, b = number(stated), number(loaded)
        plain = not isinstance(loaded, (Mapping, list))
        if a is not None and (b is not None or (plain and not isinstance(stated, str))):
            yield path, stated, loaded


def number(value: Any) -> Number | None:
    """The number that a value is or, as YAML reads `1e-5`, spells; None for anything else."""
    if isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return float(value)
    try:
        return float(value) if isinstance(value, str) else None
    except ValueError:
        return None
