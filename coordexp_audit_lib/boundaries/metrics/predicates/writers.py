"""How many runs and processes wrote a log: steps that go back, and steps that stand in it twice."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import msgspec

from coordexp_audit_lib.boundaries.metrics.predicates.log import PROGRESS, Log, Row
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem, Undecided

# What two processes that log the same step can't agree on, and what is no measurement.
_CLOCKS = ("speed", "time", "runtime", "per_second", "memory", "throughput", "elapsed")
_PLACE = frozenset({*PROGRESS, "step", "global_step", "current_steps", "total_steps", "epoch", "percentage"})
MIXED = 3  # two writers at once: the steps go back more often than every third row


class Stretch(msgspec.Struct, frozen=True):
    """Training rows in the order written, in which the steps never go back: what one start of a run wrote."""

    rows: list[Row]

    @property
    def first(self) -> int:
        return self.rows[0].step or 0

    @property
    def last(self) -> int:
        return self.rows[-1].step or 0


def stretches(log: Log) -> list[Stretch]:
    """The training rows that measure something and say their step, cut where the steps go back."""
    found: list[list[Row]] = []
    for row in log.train:
        if row.step is None or not _measures(row):
            continue
        if found and found[-1][-1].step <= row.step:  # type: ignore[operator]
            found[-1].append(row)
        else:
            found.append([row])
    return [Stretch(rows) for rows in found]


def told(log: Log) -> str:
    """The runs of a log in words: which steps, and where one was started again or resumed."""
    found = stretches(log)
    if not found:
        return "no training step that says its number"
    steps = len({row.step for s in found for row in s.rows})
    text = f"{steps} training step{'s' if steps != 1 else ''}, {found[0].first} to {max(s.last for s in found)}"
    if _mixed(found):
        return text
    for before, after in pairwise(found):
        what = "started again" if after.first <= found[0].first else "resumed"
        text += f"; {what} at step {after.first} after step {before.last} (line {after.rows[0].line})"
        if text.count(";") > 8:
            return f"{text}; and so on, {len(found)} starts in all"
    return text


def step_once(log: Log, ledger: Ledger) -> Iterator[Problem]:
    """Between two starts of a run no training step stands twice. Judged: training rows that say their step.

    A run that was resumed, or started again in the same folder, goes back in its steps once, and on from there; two
    writers at the same time write a step twice, or go back and forth. Rows of one step that measure different things
    are one row in parts.
    """
    found = stretches(log)
    ledger.judged(sum(len(s.rows) for s in found))
    if not found:
        raise Undecided("no training row says its step")
    if _mixed(found):
        row = found[1].rows[0]
        rows = sum(len(s.rows) for s in found)
        message = f"the steps go back {len(found) - 1} times in {rows} rows: two runs write one log at the same time"
        yield log.problem(message, "step", [row], f"after step {found[0].last} a later one", row.step)
        return
    for one in found:
        for earlier, row in pairwise(one.rows):
            if earlier.step == row.step and _overlap(earlier, row):
                who = "two processes write one log" if _alike(earlier, row) else "two runs, or processes, write one log"
                values = "with the same values" if _alike(earlier, row) else "with other values"
                place = f"in lines {earlier.line} and {row.line}" if log.numbered else "in two rows"
                message = f"step {row.step} stands {place} {values}: {who}"
                yield log.problem(message, "step", [row, earlier], "one row for a step", "two")


def _mixed(found: list[Stretch]) -> bool:
    """Whether the steps go back and forth as two writers at once make them."""
    backs = len(found) - 1
    return backs >= MIXED and backs * MIXED > sum(len(s.rows) for s in found[1:])


def _measured(row: Row) -> set[str]:
    return {key for key in row.values if key not in _PLACE}


def _measures(row: Row) -> bool:
    return any(key not in _PLACE for key in row.values) or bool(row.odd)


def _overlap(a: Row, b: Row) -> bool:
    """Whether two rows measure the same: both a loss, or most of what either has."""
    if "loss" in a.values or "loss" in b.values:
        return "loss" in a.values and "loss" in b.values
    mine, yours = _measured(a), _measured(b)
    return 2 * len(mine & yours) > len(mine | yours)


def _alike(a: Row, b: Row) -> bool:
    both = [k for k in _measured(a) & _measured(b) if not any(clock in k for clock in _CLOCKS)]
    return bool(both) and all(a.values[k] == b.values[k] or a.values[k] != a.values[k] for k in both)
