"""What a metrics log must be: one predicate per claim, over the rows of `log`.

The invariants judge what a target's own code logs with these, and `coordexp-audit metrics` judges files with the same.
A predicate yields a `Problem` for each way in which its claim fails and counts what it judged; what a log can't decide
is said (`Undecided`), not passed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.metrics import names
from coordexp_audit_lib.boundaries.metrics.log import Log, Row
from coordexp_audit_lib.boundaries.metrics.schedule import WINDOW, Interval, shares

Count = Callable[[int], None]
TOLERANCE = 1e-6  # ms-swift writes eight decimals, TensorBoard float32
INTEGRAL = 1e-6
EXACT = float(1 << 53)
SEED_STRIDE, SEED_RANGE = 1_000_003, 1 << 31
MIN_SERIES = 4


class Problem(msgspec.Struct, frozen=True):
    """One way in which a log breaks a claim. rows: those at fault; subject: the metric."""

    message: str
    subject: str
    rows: list[Row]
    expected: Any = None
    actual: Any = None


class Undecided(Exception):
    """The log at hand can't decide the claim; the message names what is missing."""


Predicate = Callable[[Log, Count], Iterator[Problem]]


def stage2_rows(log: Log) -> list[Row]:
    """The training rows of a Stage-2 log."""
    if not log.is_stage2:
        raise Undecided("no row has a key of a Stage-2 trainer (stage2/… or stage2_ab/…)")
    if not log.train:
        raise Undecided("no training row")
    return log.train


def required_keys(log: Log, count: Count) -> Iterator[Problem]:
    """Every row has the realised ratio; every B row also the drop counters, rollout timing and throughput."""
    for row in stage2_rows(log):
        wanted = [names.RATIO_REALIZED]
        if row.channel == "B":
            wanted += [names.INVALID, names.VALID, names.DROPPED, names.GENERATE, names.THROUGHPUT]
        count(len(wanted))
        for key in wanted:
            if key not in row.values:
                what = "Channel-B step" if row.channel == "B" else "Channel-A step"
                yield Problem(f"{row.name}, a {what}, logs no {key}", key, [row], "a number", None)


def only_when_executed(log: Log, count: Count) -> Iterator[Problem]:
    """A row without a rollout has no `time/rollout_*` and no zero under a name that only a rollout can measure."""
    for row in stage2_rows(log):
        if row.channel == "B":
            continue
        count(1)
        for key, value in row.values.items():
            if key.startswith(names.ROLLOUT_TIME):
                yield Problem(f"{row.name} ran no rollout and logs {key} = {value:.6g}", key, [row], None, value)
            elif value == 0 and key.startswith(names.ROLLOUT_FAMILIES):
                yield Problem(
                    f"{row.name} ran no rollout and logs {key} = 0, which reads like a measurement", key, [row], None, 0
                )


def b_ratio_consistent(log: Log, count: Count) -> Iterator[Problem]:
    """The realised ratio is the share of B rows so far, and some b gives this order of channels.

    With a row for every step from the first, shares are counted. A log with gaps is judged by its ratios alone: each
    must be a whole number of B steps over the steps so far.
    """
    rows = [r for r in stage2_rows(log) if names.RATIO_REALIZED in r.values]
    if not rows:
        raise Undecided(f"no row has {names.RATIO_REALIZED}")
    if any(r.step is None or r.step < 1 for r in rows):
        raise Undecided("a row does not say its step")
    steps = [r.step or 0 for r in rows]
    if steps != sorted(set(steps)):
        raise Undecided("steps repeat or go back: the log joins several runs")
    whole = steps == list(range(1, len(steps) + 1))
    if whole:
        yield from _counted_shares(rows, count)
    yield from _follows_schedule(rows, whole, count)


def _counted_shares(rows: list[Row], count: Count) -> Iterator[Problem]:
    channels = [r.channel for r in rows]
    recent = shares(channels, WINDOW)
    for row, share, windowed in zip(rows, shares(channels), recent, strict=True):
        count(1)
        ratio = row.values[names.RATIO_REALIZED]
        if not _near(ratio, share):
            rolling = f"; it is the share of the last {WINDOW} steps" if _near(ratio, windowed) else ""
            message = f"{row.name}: {names.RATIO_REALIZED} is {ratio:.6g}, but {share:.6g} of the steps so far were B"
            yield Problem(message + rolling, names.RATIO_REALIZED, [row], share, ratio)


def _follows_schedule(rows: list[Row], whole: bool, count: Count) -> Iterator[Problem]:
    possible, b_steps = Interval(), 0
    for row in rows:
        count(1)
        step = row.step or 1
        implied = row.values[names.RATIO_REALIZED] * step
        b_steps = b_steps + (row.channel == "B") if whole else round(implied) if math.isfinite(implied) else -1
        if not whole and abs(implied - b_steps) > TOLERANCE * step:
            message = f"{row.name}: {names.RATIO_REALIZED} times the step is no whole number of B steps"
            yield Problem(message, names.RATIO_REALIZED, [row], b_steps / step, row.values[names.RATIO_REALIZED])
            return
        before = possible.text()
        if not possible.narrow(step, b_steps):
            message = f"no b_ratio gives this order of channels: {b_steps} B steps among the first {step}"
            yield Problem(message, names.CHANNEL_B, [row], before, b_steps)
            return


def counters_are_counts(log: Log, count: Count) -> Iterator[Problem]:
    """A metric named as a counter (`names.ROLES`) is a whole number, not negative."""
    for row in log.rows:
        for key, value in row.values.items():
            if names.role(key) != "counter" or not math.isfinite(value):
                continue
            count(1)
            if value < 0:
                yield Problem(f"{row.name}: the counter {key} is negative: {value:.6g}", key, [row], "≥ 0", value)
            elif not _whole(value):
                message = f"{row.name}: the counter {key} is {value:.6g}, so it was averaged, not summed"
                yield Problem(message, key, [row], "a whole number", value)


def reasons_add_up(log: Log, count: Count) -> Iterator[Problem]:
    """The reason buckets sum to `N_drop_invalid`; a rate whose terms are logged is their quotient."""
    for row in log.rows:
        if names.DROPPED in row.values:
            count(1)
            total = sum(v for k, v in row.values.items() if k.startswith(names.REASON))
            dropped = row.values[names.DROPPED]
            if not _near(total, dropped):
                message = f"{row.name}: the reason buckets sum to {total:.6g}, N_drop_invalid is {dropped:.6g}"
                yield Problem(message, names.DROPPED, [row], total, dropped)
        for key, value in row.values.items():
            found = None if names.role(key) == "repeat" else names.terms(key, row.values)
            if found is None or not any(found[1]):
                continue
            count(1)
            over, under = found
            possible = [over / d for d in under if d]
            if not any(_near(value, p) for p in possible):
                message = f"{row.name}: {key} is {value:.6g}, its terms give {over:.6g}/{under[0]:.6g}"
                yield Problem(message, key, [row], possible[0], value)


def identity_not_averaged(log: Log, count: Count) -> Iterator[Problem]:
    """A value that identifies is a whole number; rollout seeds keep their distance to the step.

    The seed of step s is (training seed + s · 1000003) mod 2³¹, so that the seed minus s · 1000003 is the same in every
    row: a sum over ranks, which is whole too, is found by that.
    """
    seeds: list[tuple[Row, int]] = []
    for row in log.rows:
        for key, value in row.values.items():
            if names.role(key) != "identity" or not math.isfinite(value):
                continue
            count(1)
            if not _whole(value):
                message = f"{row.name}: {key} identifies something and is {value:.6f}: it was averaged"
                yield Problem(message, key, [row], "a whole number", value)
            elif key == "rollout/seed_base" and row.step is not None and row.kind == "train":
                seeds.append((row, round(value)))
    if not seeds:
        return
    offsets = [(seed - (row.step or 0) * SEED_STRIDE) % SEED_RANGE for row, seed in seeds]
    usual = max(sorted(set(offsets)), key=offsets.count)
    for (row, seed), offset in zip(seeds, offsets, strict=True):
        wanted = (usual + (row.step or 0) * SEED_STRIDE) % SEED_RANGE
        # A float32 event file keeps 24 bits: a larger seed is only near.
        if offset != usual and abs(seed - wanted) > wanted / (1 << 23):
            message = f"{row.name}: rollout/seed_base is {seed}, the other rows' seeds say {wanted}"
            yield Problem(message, "rollout/seed_base", [row], wanted, seed)


def per_step_not_cumulative(log: Log, count: Count) -> Iterator[Problem]:
    """No `time/*` series is a running total: never falling, and at last more than twice its largest increment.

    Fewer than four values decide nothing. A name that says that it runs on (`names.RUNNING_NAMES`) may.
    """
    series: dict[str, list[Row]] = {}
    for row in log.train:
        for key, value in row.values.items():
            if names.role(key) == "timing" and math.isfinite(value) and not key.endswith(names.RUNNING_NAMES):
                series.setdefault(key, []).append(row)
    long = {k: rows for k, rows in series.items() if len(rows) >= MIN_SERIES}
    if not long:
        raise Undecided(f"no time/* metric stands in {MIN_SERIES} rows")
    for key, rows in long.items():
        count(1)
        values = [r.values[key] for r in rows]
        steps = [b - a for a, b in zip([0.0, *values], values, strict=False)]
        if min(steps) >= 0 and values[-1] > 2 * max(steps):
            message = f"{key} is a running total: it grows from {values[0]:.6g} to {values[-1]:.6g} and never falls"
            yield Problem(
                message, key, rows, f"at most about {max(steps):.6g} s in a step", [round(v, 3) for v in values]
            )


def finite(log: Log, count: Count) -> Iterator[Problem]:
    """Every metric of every row is a number, and finite."""
    usual = {key for row in log.rows for key in row.values}
    for row in log.rows:
        count(len(row.values))
        for key, value in row.values.items():
            if not math.isfinite(value):
                yield Problem(f"{row.name}: {key} is {value}", key, [row], "a finite number", repr(value))
        for key, what in row.odd.items():
            if key in usual or what == "null":
                yield Problem(f"{row.name}: {key} is no number but a {what}", key, [row], "a number", what)


def schema_stable(log: Log, count: Count) -> Iterator[Problem]:
    """The rows of one channel have the same keys.

    One cause is taken for good: `snapshot/*` stands in for what a row lacks, so it comes and goes with it. That a
    reason bucket is 0 is none: the project's spec asks for the buckets as stable keys on every Channel-B step.
    """
    groups: dict[str, list[Row]] = {}
    for row in log.train:
        groups.setdefault(row.channel if log.is_stage2 else "train", []).append(row)
    if not any(len(rows) > 1 for rows in groups.values()):
        raise Undecided("no channel has two rows")
    for name, rows in groups.items():
        kept = [{k for k in (*r.values, *r.odd) if names.role(k) != "repeat"} for r in rows]
        count(len(rows))
        for key in sorted(set().union(*kept) - kept[0].intersection(*kept)):
            without = [r for r, keys in zip(rows, kept, strict=True) if key not in keys]
            label = f"Channel-{name}" if log.is_stage2 else "training"
            message = f"{key} stands in {len(rows) - len(without)} of {len(rows)} {label} rows"
            yield Problem(message, key, without, "in all or in none", [r.step for r in rows if r not in without])


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= TOLERANCE * max(1.0, abs(a), abs(b))


def _whole(value: float) -> bool:
    return abs(value) >= EXACT or abs(value - round(value)) <= INTEGRAL


PREDICATES: dict[str, Predicate] = {
    f"metrics.{p.__name__}": p
    for p in (
        required_keys,
        only_when_executed,
        b_ratio_consistent,
        counters_are_counts,
        reasons_add_up,
        identity_not_averaged,
        per_step_not_cumulative,
        finite,
        schema_stable,
    )
}
