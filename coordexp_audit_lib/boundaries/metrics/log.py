"""A log as the predicates read it: rows in order, each of one kind, with its metrics as numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.metrics.names import CHANNEL_A, CHANNEL_B, RATIO_REALIZED, ROLLOUT_FAMILIES

SUMMARY = frozenset({"train_runtime", "train_samples_per_second", "train_steps_per_second", "total_flos", "train_loss"})
EVAL = ("eval/", "eval_", "test/", "test_")
# What ms-swift's progress callback writes as text beside the metrics.
PROGRESS = (
    "global_step/max_steps",
    "percentage",
    "elapsed_time",
    "remaining_time",
    "memory(GiB)",
    "train_speed(iter/s)",
)
MAX_ODD = 100


class Row(msgspec.Struct, frozen=True):
    """One row. kind: `train`, `eval` or `summary`. step: 1-based optimizer step, None if unknown. line: in its file.

    values: every number, NaN and infinities included. odd: what should be a number and is something else, by key.
    """

    kind: str
    step: int | None
    line: int
    values: dict[str, float]
    odd: dict[str, str] = {}

    @property
    def channel(self) -> str:
        """`A` or `B`: by the row's own flags; without flags, a row that holds rollout metrics is a B row."""
        if CHANNEL_A in self.values or CHANNEL_B in self.values:
            return "B" if self.values.get(CHANNEL_B, 0.0) >= 0.5 else "A"
        return "B" if any(k.startswith(ROLLOUT_FAMILIES) for k in self.values) else "A"

    @property
    def name(self) -> str:
        return f"step {self.step}" if self.step is not None else f"line {self.line}"


class Log(msgspec.Struct, frozen=True):
    """Rows in the order written. source: the file's name. numbered: a row's `line` is a line of that file.

    stage2: it is known to be of a Stage-2 trainer, whatever keys it has.
    """

    source: str
    rows: list[Row]
    numbered: bool = False
    stage2: bool = False

    @property
    def train(self) -> list[Row]:
        return [r for r in self.rows if r.kind == "train"]

    @property
    def is_stage2(self) -> bool:
        """Whether a Stage-2 trainer wrote it: some row has a key of its own."""
        return self.stage2 or any(k.startswith(("stage2/", "stage2_ab/")) for r in self.rows for k in r.values)


def row_of(record: Mapping[str, Any], line: int) -> Row:
    """Sort one record's entries: numbers, progress texts (left out), and what should be a number but is not."""
    values: dict[str, float] = {}
    odd: dict[str, str] = {}
    for key, value in record.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            values[key] = _float(value)
        elif key not in PROGRESS and len(odd) < MAX_ODD:
            odd[key] = "null" if value is None else type(value).__name__
    kind = _kind(values, odd)
    return Row(kind, _step(record), line, values, odd)


def rows_of(records: Iterable[tuple[int, Mapping[str, Any]]]) -> list[Row]:
    return [row_of(record, line) for line, record in records]


def _float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of more than 308 digits
        return math.inf if value > 0 else -math.inf


def _kind(values: Mapping[str, float], odd: Mapping[str, str]) -> str:
    keys = [*values, *odd]
    if "loss" in keys or RATIO_REALIZED in keys:
        return "train"
    if any(k.startswith(EVAL) for k in keys):
        return "eval"
    return "summary" if SUMMARY.intersection(keys) else "train"


def _step(record: Mapping[str, Any]) -> int | None:
    """From `step` (trainer_state.json) or ms-swift's `global_step/max_steps`, "3/8"."""
    step = record.get("step")
    if isinstance(step, int) and not isinstance(step, bool):
        return step
    progress = record.get("global_step/max_steps")
    head = progress.split("/")[0] if isinstance(progress, str) else ""
    return int(head) if head.isascii() and head.isdigit() and len(head) < 19 else None
