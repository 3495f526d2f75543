"""The A/B schedule: step s (from 0) is a B step iff floor((s+1)·b) > floor(s·b): floor(n·b) of the first n.

Read backwards: N B steps among the first n say that N/n ≤ b < (N+1)/n. A log follows the schedule for some b iff all
these intervals have a point in common, so that it can be judged without the config.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

WINDOW = 200


class Interval:
    """The b that are still possible: low ≤ b < high, and b ≤ 1. Exact: floats would decide ties by chance."""

    def __init__(self) -> None:
        self.low, self.high = Fraction(0), Fraction(2)

    def narrow(self, steps: int, b_steps: int) -> bool:
        """Take in that `b_steps` of the first `steps` were B steps; False if no b is left."""
        self.low = max(self.low, Fraction(b_steps, steps))
        self.high = min(self.high, Fraction(b_steps + 1, steps))
        return self.low < self.high and self.low <= 1

    def text(self) -> str:
        return f"{float(self.low):.4f} ≤ b < {float(self.high):.4f}" if self.high <= 1 else f"b ≥ {float(self.low):.4f}"


def is_b_step(step: int, b_ratio: float) -> bool:
    """Whether step `step` (from 0) is a B step. In floats, as the trainer computes it."""
    from math import floor

    return floor((step + 1) * b_ratio) > floor(step * b_ratio)


def shares(channels: Iterable[str], window: int | None = None) -> list[float]:
    """After each step, the share of B among all steps so far, or among the last `window`."""
    seen: list[int] = []
    found = []
    for channel in channels:
        seen.append(int(channel == "B"))
        taken = seen if window is None else seen[-window:]
        found.append(sum(taken) / len(taken))
    return found
