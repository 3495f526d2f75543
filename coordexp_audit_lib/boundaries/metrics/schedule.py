"""The A/B schedule: step s (from 0) is a B step iff floor((s+1)·b) > floor(s·b): floor(n·b) of the first n.

Read backwards: N B steps among the first n say that N/n ≤ b < (N+1)/n. A log follows the schedule for some b iff all
these intervals have a point in common, so that it can be judged without the config.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import floor

WINDOW = 200


class Interval:
    """The b that are still possible: low ≤ b < high, and b ≤ 1. Exact, for floats would decide ties by chance.

    They do so in the trainer: with b = 0.29 it computes floor(100 · b) = 28. So where low meets high, that one b is
    tried as the trainer computes it, on all that was taken in.
    """

    def __init__(self) -> None:
        self.low, self.high = Fraction(0), Fraction(2)
        self._seen: list[tuple[int, int]] = []
        self._tied: float | None = None

    def narrow(self, steps: int, b_steps: int) -> bool:
        """Take in that `b_steps` of the first `steps` were B steps; False if no b is left."""
        self._seen.append((steps, b_steps))
        self.low = max(self.low, Fraction(b_steps, steps))
        self.high = min(self.high, Fraction(b_steps + 1, steps))
        if self._tied is not None:
            return self.low <= self.high and floor(steps * self._tied) == b_steps
        if self.low == self.high and self.low <= 1:
            self._tied = float(self.low)
            return all(floor(n * self._tied) == b for n, b in self._seen)
        return self.low < self.high and self.low <= 1

    def text(self) -> str:
        return f"{float(self.low):.4f} ≤ b < {float(self.high):.4f}" if self.high <= 1 else f"b ≥ {float(self.low):.4f}"


def is_b_step(step: int, b_ratio: float) -> bool:
    """Whether step `step` (from 0) is a B step. In floats, as the trainer computes it."""
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
