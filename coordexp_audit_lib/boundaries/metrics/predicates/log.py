"""A log as the predicates read it: rows in order, each of one kind, with its metrics as numbers."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import Vocabulary
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.problem import Problem

SUMMARY = frozenset({"train_runtime", "train_samples_per_second", "train_steps_per_second", "total_flos", "train_loss"})
EVAL = ("eval/", "eval_", "test/", "test_")
# What ms-swift's progress callback writes as text beside the metrics.
PROGRESS = (
    *("global_step/max_steps", "percentage", "elapsed_time", "remaining_time", "memory(GiB)", "train_speed(iter/s)"),
)
MAX_ODD = 100
NUMBER_TEXT = "number written as text"
MAX_STEPS = 50


class Row(msgspec.Struct, frozen=True):
    """One row. kind: `train`, `eval` or `summary`. step: 1-based optimizer step, None if unknown. line: in its file.

    values: every number, NaN and infinities included. odd: what should be a number and is something else, by key.
    channel: `A` or `B`, by the row's own flags; without flags, a row that holds rollout metrics is a B row.
    """

    kind: str
    step: int | None
    line: int
    values: dict[str, float]
    odd: dict[str, str] = {}
    channel: str = "A"

    @property
    def name(self) -> str:
        return f"step {self.step}" if self.step is not None else f"line {self.line}"


class Log(msgspec.Struct, frozen=True):
    """Rows in the order written. source: the file's name. words: how its writer names what it logs.

    numbered: a row's `line` is a line of that file. stage2: it is known to be of a Stage-2 trainer, whatever keys it
    has.
    """

    source: str
    rows: list[Row]
    words: Vocabulary
    numbered: bool = False
    stage2: bool = False

    @property
    def train(self) -> list[Row]:
        return [r for r in self.rows if r.kind == "train"]

    @property
    def is_stage2(self) -> bool:
        """Whether a Stage-2 trainer wrote it: some row has a key of its own."""
        return self.stage2 or any(k.startswith(self.words.stage2) for r in self.rows for k in r.values)

    def problem(
        self, message: str, subject: str, rows: Sequence[Row], expected: Any = None, actual: Any = None
    ) -> Problem:
        """A problem with a metric, `subject`, at these rows: where the first stands, and the steps of all."""
        steps = [r.line if r.step is None else r.step for r in rows[:MAX_STEPS]]
        where = Where(self.source, rows[0].line if self.numbered and rows else 0)
        return Problem(message, subject, expected, actual, {"steps": steps}, where=where)


def row_of(record: Mapping[str, Any], line: int, words: Vocabulary) -> Row:
    """Sort one record's entries: numbers, progress texts (left out), and what should be a number but is not."""
    values: dict[str, float] = {}
    odd: dict[str, str] = {}
    for key, given in record.items():
        value = given if type(given) in (float, int, str) else plain(given)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            values[key] = _float(value)
        elif key not in PROGRESS and len(odd) < MAX_ODD:
            odd[key] = NUMBER_TEXT if _is_number_text(value) else "null" if value is None else type(value).__name__
    return Row(_kind([*values, *odd], words), _step(record), line, values, odd, _channel(values, words))


def plain(value: Any) -> Any:
    """A number of whatever type as Python's own: of NumPy, of torch (one entry, on any device), a Decimal, a Fraction.
    Whatever is no number stays as it is."""
    try:
        one = value.item() if hasattr(value, "item") else value
    except (TypeError, ValueError, RuntimeError):  # it has more than one entry, or none
        return value
    if isinstance(one, bool):
        return one
    if isinstance(one, numbers.Integral):
        return int(one)
    return _float(one) if isinstance(one, (numbers.Real, Decimal)) else value


def _is_number_text(value: Any) -> bool:
    """Whether a text is a number for any reader of numbers: "1.0", "nan", "-inf"."""
    if not isinstance(value, str) or len(value) > 40:
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True


def _float(value: Any) -> float:
    try:
        return float(value)
    except ValueError:  # a Decimal that is a signalling NaN
        return math.nan
    except OverflowError:  # an integer of more than 308 digits
        return math.inf if value > 0 else -math.inf


def _kind(keys: list[str], words: Vocabulary) -> str:
    if "loss" in keys or words.ratio in keys:
        return "train"
    if any(k.startswith(EVAL) for k in keys):
        return "eval"
    return "summary" if SUMMARY.intersection(keys) else "train"


def _channel(values: Mapping[str, float], words: Vocabulary) -> str:
    if words.channel_a in values or words.channel_b in values:
        return "B" if values.get(words.channel_b, 0.0) >= 0.5 else "A"
    return "B" if any(k.startswith(words.rollout_families) for k in values) else "A"


def _step(record: Mapping[str, Any]) -> int | None:
    """From `step` (trainer_state.json) or ms-swift's `global_step/max_steps`, "3/8"."""
    step = plain(record.get("step"))
    if isinstance(step, int) and not isinstance(step, bool):
        return step
    progress = record.get("global_step/max_steps")
    head = progress.split("/")[0] if isinstance(progress, str) else ""
    return int(head) if head.isascii() and head.isdigit() and len(head) < 19 else None
