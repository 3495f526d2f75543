"""The detection power, where it was measured: what `coordexp-audit faults --json` printed, kept beside a run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.reading import content

FILE = "faults.json"
SCHEMA = "coordexp-audit-faults/1"
MOST = 64 << 20  # bytes
HOW = f"`coordexp-audit faults --json > RUN/{FILE}` measures it; the book that is built then says it."
Z = 1.96  # of a 95 % interval


class _Detection(msgspec.Struct):
    fault: str
    expected: list[str]
    caught: list[str]


class _Proof(msgspec.Struct):
    detections: list[_Detection]
    unsound: dict[str, str]
    unproven: list[str]
    artifacts: list[_Detection] = []
    schema: str = ""


class Power(msgspec.Struct, frozen=True):
    """misses: faults that a claim which must notice them did not, by name. alarms: claims that do not hold on what is
    unbroken. judged: claims that were asked of it."""

    faults: int
    misses: tuple[str, ...]
    judged: int
    alarms: tuple[str, ...]

    def told(self) -> str:
        """A sentence with both rates and their 95 % intervals."""
        return (
            f"Of {self.faults} deliberate faults {self.faults - len(self.misses)} are noticed by every claim that must "
            f"notice them (missed: {rate(len(self.misses), self.faults)}); of {self.judged} claims {len(self.alarms)} "
            f"cry at the unbroken reference (false alarms: {rate(len(self.alarms), self.judged)})."
        )


def read_power(run_dir: Path) -> Power | None:
    """What was measured beside a run; None where nothing was.

    Raises:
        UsageError: the file is there and is nothing that `faults` printed.
    """
    file = run_dir / FILE
    if not file.is_file():
        return None
    try:
        made: Mapping[str, Any] = json.loads(content(file, MOST))
        proof = msgspec.convert(made, _Proof)
    except (ValueError, msgspec.ValidationError, OSError, RecursionError) as error:
        raise UsageError(
            f"not what `faults --json` prints: {error}", where=str(file), remedy="make it again"
        ) from error
    if proof.schema != SCHEMA:
        raise UsageError(f"its schema is {proof.schema!r}, not {SCHEMA!r}", where=str(file), remedy="make it again")
    every = [*proof.detections, *proof.artifacts]
    misses = tuple(d.fault for d in every if set(d.caught) < set(d.expected))
    judged = {name for d in every for name in d.expected} | set(proof.unproven) | set(proof.unsound)
    return Power(len(every), misses, len(judged), tuple(proof.unsound))


def rate(events: int, trials: int) -> str:
    """A share in percent with Wilson's 95 % interval."""
    if not trials:
        return "not measured"
    p, n = events / trials, trials
    middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    low, high = 0.0 if not events else low, 1.0 if events == trials else high
    return f"{100 * p:.1f} %, 95 % interval {100 * low:.1f} to {100 * high:.1f}"
