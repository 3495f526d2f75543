"""What a log's rows must be together: ratio and schedule, timings and keys from step to step."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import accumulate

from coordexp_audit_lib.boundaries.metrics.predicates.log import MAX_STEPS, Log, Row
from coordexp_audit_lib.boundaries.metrics.predicates.steps import TOLERANCE, near, stage2_rows
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem, Undecided
from coordexp_audit_lib.kit.schedule import b_steps

WINDOW = 200
MIN_SERIES = 4


class Interval:
    """The b that are still possible: low ≤ b < high, and b ≤ 1. Exact, for floats would decide ties by chance.

    N B steps among the first n say that N/n ≤ b < (N+1)/n; a log follows the schedule for some b iff all these
    intervals have a point in common, so that it can be judged without the config. Floats decide ties in the trainer:
    with b = 0.29 it computes floor(100 · b) = 28. So where low meets high, that one b is tried as the trainer computes
    it, on all that was taken in.
    """

    def __init__(self) -> None:
        self.low, self.high = Fraction(0), Fraction(2)
        self._seen: list[tuple[int, int]] = []
        self._tied: float | None = None

    def narrow(self, steps: int, ran: int) -> bool:
        """Take in that `ran` of the first `steps` were B steps; False if no b is left."""
        self._seen.append((steps, ran))
        self.low = max(self.low, Fraction(ran, steps))
        self.high = min(self.high, Fraction(ran + 1, steps))
        if self._tied is not None:
            return self.low <= self.high and b_steps(steps, self._tied) == ran
        if self.low == self.high and self.low <= 1:
            self._tied = float(self.low)
            return all(b_steps(n, self._tied) == b for n, b in self._seen)
        return self.low < self.high and self.low <= 1

    def text(self) -> str:
        return f"{float(self.low):.4f} ≤ b < {float(self.high):.4f}" if self.high <= 1 else f"b ≥ {float(self.low):.4f}"


def shares(channels: Iterable[str], window: int | None = None) -> list[float]:
    """After each step, the share of B among all steps so far, or among the last `window`."""
    ran = [0, *accumulate(int(channel == "B") for channel in channels)]
    ends = range(1, len(ran))
    starts = [0 if window is None else max(0, n - window) for n in ends]
    return [(ran[n] - ran[first]) / (n - first) for n, first in zip(ends, starts, strict=True)]


def b_ratio_consistent(log: Log, ledger: Ledger) -> Iterator[Problem]:
    """The realised ratio is the share of B rows so far, and some b gives this order of channels.

    With a row for every step from the first, shares are counted. A log with gaps is judged by its ratios alone: each
    must be a whole number of B steps over the steps so far. Judged: ratios, and steps of the schedule.
    """
    rows = [r for r in stage2_rows(log) if log.words.ratio in r.values]
    if not rows:
        raise Undecided(f"no row has {log.words.ratio}")
    if any(r.step is None or r.step < 1 for r in rows):
        raise Undecided("a row does not say its step")
    steps = [r.step or 0 for r in rows]
    if steps != sorted(set(steps)):
        raise Undecided("steps repeat or go back: the log joins several runs")
    whole = steps == list(range(1, len(steps) + 1))
    if whole:
        yield from _counted_shares(log, rows, ledger)
    yield from _follows_schedule(log, rows, whole, ledger)


def _counted_shares(log: Log, rows: list[Row], ledger: Ledger) -> Iterator[Problem]:
    channels, key = [r.channel for r in rows], log.words.ratio
    recent = shares(channels, WINDOW)
    for row, share, windowed in zip(rows, shares(channels), recent, strict=True):
        ledger.judged()
        ratio = row.values[key]
        if not near(ratio, share):
            rolling = f"; it is the share of the last {WINDOW} steps" if near(ratio, windowed) else ""
            message = f"{row.name}: {key} is {ratio:.6g}, but {share:.6g} of the steps so far were B"
            yield log.problem(message + rolling, key, [row], share, ratio)


def _follows_schedule(log: Log, rows: list[Row], whole: bool, ledger: Ledger) -> Iterator[Problem]:
    possible, ran = Interval(), 0
    for row in rows:
        ledger.judged()
        step, ratio = row.step or 1, row.values[log.words.ratio]
        implied = ratio * step
        ran = ran + (row.channel == "B") if whole else round(implied) if math.isfinite(implied) else -1
        if not whole and abs(implied - ran) > TOLERANCE * step:
            message = f"{row.name}: {log.words.ratio} times the step is no whole number of B steps"
            yield log.problem(message, log.words.ratio, [row], ran / step, ratio)
            return
        before = possible.text()
        if not possible.narrow(step, ran):
            message = f"no b_ratio gives this order of channels: {ran} B steps among the first {step}"
            yield log.problem(message, log.words.channel_b, [row], before, ran)
            return


def per_step_not_cumulative(log: Log, ledger: Ledger) -> Iterator[Problem]:
    """No timing is a running total: never falling, and at last more than twice its largest increment.

    Fewer than four values decide nothing. A name that says that it runs on may. Judged: the series.
    """
    series: dict[str, list[Row]] = {}
    for row in log.train:
        for key, value in row.values.items():
            if log.words.role(key) != "timing" or key.endswith(log.words.running):
                continue
            if math.isfinite(value):
                series.setdefault(key, []).append(row)
            else:
                ledger.left_out(key, "it is not finite in some row")
    if not any(len(rows) >= MIN_SERIES for rows in series.values()):
        raise Undecided(f"no time/* metric stands in {MIN_SERIES} rows")
    for key, rows in series.items():
        if len(rows) < MIN_SERIES:
            ledger.left_out(key, f"it stands in fewer than {MIN_SERIES} rows")
            continue
        ledger.judged()
        values = [r.values[key] for r in rows]
        steps = [b - a for a, b in zip([0.0, *values], values, strict=False)]
        if min(steps) >= 0 and values[-1] > 2 * max(steps):
            message = f"{key} is a running total: it grows from {values[0]:.6g} to {values[-1]:.6g} and never falls"
            expected = f"at most about {max(steps):.6g} s in a step"
            yield log.problem(message, key, rows, expected, [round(v, 3) for v in values[:MAX_STEPS]])


def schema_stable(log: Log, ledger: Ledger) -> Iterator[Problem]:
    """The rows of one channel have the same keys. Judged: rows that have another to compare with.

    One cause is taken for good: what repeats (`snapshot/*`) stands in for what a row lacks, so it comes and goes with
    it. That a reason bucket is 0 is none: the buckets are stable keys on every Channel-B step.
    """
    groups: dict[str, list[Row]] = {}
    for row in log.train:
        groups.setdefault(row.channel if log.is_stage2 else "train", []).append(row)
    if not any(len(rows) > 1 for rows in groups.values()):
        raise Undecided("no channel has two rows")
    for name, rows in groups.items():
        label = f"Channel-{name}" if log.is_stage2 else "training"
        if len(rows) < 2:
            ledger.left_out(f"{label} rows", "there is one only")
            continue
        kept = [{k for k in (*r.values, *r.odd) if log.words.role(k) != "repeat"} for r in rows]
        ledger.judged(len(rows))
        yield from _come_and_go(log, label, rows, kept)


def _come_and_go(log: Log, label: str, rows: list[Row], kept: list[set[str]]) -> Iterator[Problem]:
    """A problem for each key that some of the rows lack; keys that stand in few rows cost no more than those."""
    counts = Counter(key for keys in kept for key in keys)
    partial = {key for key, count in counts.items() if count < len(rows)}
    having: dict[str, list[int]] = {}
    for n, keys in enumerate(kept):
        for key in keys & partial:
            having.setdefault(key, []).append(n)
    for key in sorted(partial):
        message = f"{key} stands in {counts[key]} of {len(rows)} {label} rows"
        with_it = [rows[n].step for n in having[key][:MAX_STEPS]]
        yield log.problem(message, key, _lacking(rows, having[key]), "in all or in none", with_it)


def _lacking(rows: list[Row], having: list[int]) -> list[Row]:
    """The first rows, as many as a problem names, that are not among the numbers `having`, which ascend."""
    found: list[Row] = []
    taken = iter(having)
    next_one = next(taken, None)
    for n, row in enumerate(rows):
        if n == next_one:
            next_one = next(taken, None)
        else:
            found.append(row)
            if len(found) == MAX_STEPS:
                break
    return found
