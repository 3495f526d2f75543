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
Z = 1.959963984540054  # of a 95 % interval


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


def wilson(events: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share by Wilson's score; (0, 1) of nothing."""
    if not trials:
        return 0.0, 1.0
    p, spread = events / trials, Z**2 / trials
    middle = (p + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(p * (1 - p) / trials + spread / (4 * trials))
    return max(0.0, middle - half) if events else 0.0, min(1.0, middle + half) if events < trials else 1.0


def rate(events: int, trials: int) -> str:
    """A share in percent with Wilson's 95 % interval."""
    if not trials:
        return "not measured"
    low, high = wilson(events, trials)
    return f"{100 * events / trials:.1f} %, 95 % interval {100 * low:.1f} to {100 * high:.1f}"
