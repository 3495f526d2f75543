"""Metrics reduced over ranks: each key is left with what its own values can become."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem

BASE = 64
Payload = Mapping[str, float]


def apart(keys: Sequence[str]) -> dict[str, float]:
    """A value for each key, so far apart that no sum, mean or maximum over a few ranks of one reaches another's."""
    return {key: float(BASE**n) for n, key in enumerate(keys)}


def reduced_by_key(
    given: Sequence[Payload], left: Sequence[Mapping[str, float | str]], ledger: Ledger
) -> Iterator[Problem]:
    """given: what each rank brings; left: what each is left with. Counts the keys of rank 0, which logs.

    A reduction is a sum, a maximum or a mean, over the ranks that have the key or over all: what is left of a key lies
    between its smallest value over the number of ranks and the sum of its values. A key that no rank brought is none.
    """
    own: dict[str, list[float]] = {}
    for payload in given:
        for key, brought in payload.items():
            own.setdefault(key, []).append(brought)
    logged = left[0] if left else {}
    value: float | str | None
    for key, values in sorted(own.items()):
        value = logged.get(key)
        if value is None:
            continue  # folded into another metric, or kept back: `metrics.required_keys` says which must be there
        ledger.judged()
        low, high = min(values) / len(given), sum(values)
        if not isinstance(value, (int, float)) or not low * 0.999 <= value <= high * 1.001:
            whose = next((k for k, v in sorted(own.items()) if _reach(v, len(given), value)), None)
            other = f", which is a value of {whose}" if whose and whose != key else ""
            yield Problem(f"{key} is left with {value}{other}", key, {"from": low, "to": high}, value)


def _reach(values: list[float], ranks: int, value: float | str) -> bool:
    """Whether a reduction of these values can be `value`."""
    return isinstance(value, (int, float)) and min(values) / ranks * 0.999 <= value <= sum(values) * 1.001
