"""How a pipeline names what it logs, and what a name says: its contract's `metrics.names`, as predicates read it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import msgspec

from coordexp_audit_lib.core.pipeline import pipeline

MAX_KNOWN = 1 << 18


class Rule(msgspec.Struct, frozen=True, array_like=True):
    """role: `repeat`, `identity`, `timing`, `counter` or `gauge`. why: the convention that the pattern reads."""

    pattern: str
    role: str
    why: str


class Rate(msgspec.Struct, frozen=True, array_like=True):
    """`name` = sum of `over` / sum of `under`; each term is a group of names, of which the first at hand is taken.

    any_under: the rate may be over any one of the names of its denominator.
    """

    name: str
    over: tuple[tuple[str, ...], ...]
    under: tuple[tuple[str, ...], ...]
    any_under: bool = False


class Vocabulary(msgspec.Struct, eq=False, dict=True):
    """Keys of single metrics, prefixes of families (`reason`, `rollout_time`, `stage2`, `rollout_families`), endings.

    own: prefixes of what its trainers alone log, in any stage. reasons: the buckets that are always there. running:
    endings of timings that may run on. rollout_only: rates that are of training rollouts, and only below
    `rollout/`.
    """

    own: tuple[str, ...]
    stage2: tuple[str, ...]
    ratio: str
    channel_a: str
    channel_b: str
    invalid: str
    valid: str
    dropped: str
    reason: str
    rollouts: str
    generate: str
    throughput: str
    seed: str
    reasons: tuple[str, ...]
    rollout_families: tuple[str, ...]
    rollout_time: str
    running: tuple[str, ...]
    roles: tuple[Rule, ...]
    rates: tuple[Rate, ...]
    rollout_only: tuple[str, ...]
    known: dict[str, str] = {}

    def role(self, key: str) -> str:
        """The role of a metric; `gauge` where no rule speaks: a mean over micro-steps and ranks, of any value."""
        found = self.known.get(key)
        if found is None:
            if len(self.known) >= MAX_KNOWN:
                self.known.clear()
            found = next((r.role for r in self.roles if re.search(r.pattern, key)), "gauge")
            self.known[key] = found
        return found

    def terms(self, key: str, row: Mapping[str, float]) -> Terms | None:
        """Numerator and denominators of a rate; None if it is no rate, or the row lacks a term."""
        folder, _, leaf = key.rpartition("/")
        folder = f"{folder}/" if folder else ""
        if leaf.endswith("_rate"):
            stem = leaf.removesuffix("_rate")
            for name in (f"{folder}{leaf}", f"{folder}{stem}", f"{folder}_{stem}"):
                if f"{name}_num" in row and f"{name}_den" in row:
                    return Terms((f"{name}_num",), (f"{name}_den",), row)
        rate = self._rates.get(leaf)
        if rate is None or (leaf in self.rollout_only and folder != "rollout/"):
            return None
        over, under = ([_at_hand(group, folder, row) for group in groups] for groups in (rate.over, rate.under))
        if not all(over) or not all(under):
            return None
        below = tuple(under[0]) if rate.any_under else tuple(found[0] for found in under)
        return Terms(tuple(found[0] for found in over), below, row, rate.any_under)

    @cached_property
    def _rates(self) -> dict[str, Rate]:
        return {r.name: r for r in reversed(self.rates)}


class Terms:
    """Numerator and denominator of a rate, by name, and the values that a row gives them.

    any_under: each of `under_names` is a denominator of its own; otherwise they are one, summed.
    """

    def __init__(
        self,
        over_names: tuple[str, ...],
        under_names: tuple[str, ...],
        row: Mapping[str, float],
        any_under: bool = False,
    ) -> None:
        self.over_names, self.under_names, self.row = over_names, under_names, row
        self.over = sum(row[name] for name in over_names)
        self.under = [row[n] for n in under_names] if any_under else [sum(row[n] for n in under_names)]


def _at_hand(group: tuple[str, ...], folder: str, row: Mapping[str, float]) -> list[str]:
    """A group's names that a row has, in the folder of the rate unless a name says its own."""
    names = (name if "/" in name else folder + name for name in group)
    return [name for name in names if name in row]


def vocabulary(contract: Mapping[str, Any] | None = None) -> Vocabulary:
    """What a pipeline's contract says of its metrics; of the default pipeline's for a log that no target gave."""
    said = (contract or {}).get("metrics.names") or pipeline().contract()["metrics.names"]
    return msgspec.convert(said, Vocabulary)
