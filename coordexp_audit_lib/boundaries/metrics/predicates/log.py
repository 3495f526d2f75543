"""A log as the predicates read it: rows in order, each of one kind, with its metrics as numbers."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import Vocabulary
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.problem import Problem

SUMMARY = frozenset({"train_runtime", "train_samples_per_second", "train_steps_per_second", "total_flos", "train_loss"})
# The last row of ms-swift's log: what it says of the run as a whole, its rows among it.
CLOSING = frozenset({"log_history", "last_model_checkpoint", "best_model_checkpoint", "best_metric", "train_dataset"})
EVAL = ("eval/", "eval_", "test/", "test_", "predict_")
# What progress callbacks write as text beside the metrics: ms-swift's, its Megatron trainer's, LLaMA-Factory's.
PROGRESS = (
    *("global_step/max_steps", "percentage", "elapsed_time", "remaining_time", "memory(GiB)", "train_speed(iter/s)"),
    *("train_speed(s/it)", "iteration", "cur_time"),
)
# LLaMA-Factory writes every column in every row, and null where a row has no value.
COLUMNS = frozenset({"current_steps", "total_steps"})
NUMBERS = frozenset({"loss", "grad_norm"})  # what is a number in every row that has it, whoever writes
MAX_ODD = 100
MAX_ITEMS = 10_000  # of a list, looked at for what is no finite number
NUMBER_TEXT = "number written as text"
NO_NUMBER = "NaN or infinity written as text"
NULL = "null"
HOLDS = " that holds "
UNREAD = f"value of more than {MAX_ITEMS} entries"
MAX_STEPS = 50
LARGEST_STEP = 1 << 62


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


class Log(msgspec.Struct, frozen=True, dict=True):
    """Rows in the order written. source: the file's name. words: how its writer names what it logs.

    numbered: a row's `line` is a line of that file. stage2: it is known to be of a Stage-2 trainer, whatever keys it
    has. form: what it was read as.
    """

    source: str
    rows: list[Row]
    words: Vocabulary
    numbered: bool = False
    stage2: bool = False
    form: str = ""

    @cached_property
    def train(self) -> list[Row]:
        return [r for r in self.rows if r.kind == "train"]

    @cached_property
    def keys(self) -> dict[str, set[str]]:
        """By kind of row, the keys that are a number in some row."""
        found: dict[str, set[str]] = {}
        for row in self.rows:
            found.setdefault(row.kind, set()).update(row.values)
        return found

    @cached_property
    def is_stage2(self) -> bool:
        """Whether a Stage-2 trainer wrote it: some row has a key of its own."""
        return self.stage2 or self._has(self.words.stage2)

    @cached_property
    def is_own(self) -> bool:
        """Whether a trainer of the pipeline wrote it of which `words` are, so that its policy is asked of it."""
        return self.is_stage2 or self._has(self.words.own)

    def _has(self, prefixes: tuple[str, ...]) -> bool:
        return any(k.startswith(prefixes) for keys in self.keys.values() for k in keys)

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
    columns = record.keys() >= COLUMNS
    for key, given in record.items():
        value = given if type(given) in (float, int, str) else plain(given)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            values[key] = _float(value)
        elif key not in PROGRESS and key not in CLOSING and not (columns and value is None) and len(odd) < MAX_ODD:
            odd[key] = _what(value)
    return Row(_kind(record, values, odd, words), _step(record), line, values, odd, _channel(values, words))


def _what(value: Any) -> str:
    """What stands where a number could."""
    if value is None:
        return NULL
    if isinstance(value, (list, dict)):
        return _inside(value) or type(value).__name__
    return _number_text(value) or type(value).__name__


def _inside(value: Any) -> str:
    """What a list or an object of numbers holds that is no finite one; empty if there is nothing."""
    waiting, seen = [value], 0
    while waiting:
        one = waiting.pop()
        below = list(one.values()) if isinstance(one, dict) else one if isinstance(one, list) else []
        seen += len(below)
        if seen > MAX_ITEMS:
            return UNREAD
        for item in below:
            if isinstance(item, float) and not math.isfinite(item):
                return f"{type(value).__name__}{HOLDS}{item}"
        waiting += [item for item in below if isinstance(item, (list, dict))]
    return ""


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


def _number_text(value: Any) -> str:
    """What a text is that any reader of numbers takes for one ("1.0", "nan", "-inf"); empty if it is none."""
    if not isinstance(value, str) or len(value) > 40:
        return ""
    try:
        return NUMBER_TEXT if math.isfinite(float(value)) else NO_NUMBER
    except ValueError:
        return ""


def _float(value: Any) -> float:
    try:
        return float(value)
    except ValueError:  # a Decimal that is a signalling NaN
        return math.nan
    except OverflowError:  # an integer of more than 308 digits
        return math.inf if value > 0 else -math.inf


def _kind(record: Mapping[str, Any], values: Mapping[str, float], odd: Mapping[str, str], words: Vocabulary) -> str:
    if "loss" in values or words.ratio in values or words.ratio in odd:
        return "train"
    if CLOSING.intersection(record):
        return "summary"
    if any(k.startswith(EVAL) for k in values):
        return "eval"
    if SUMMARY.intersection(values) or (record.keys() >= COLUMNS and not odd and values.keys() <= _PLACE):
        return "summary"
    return "eval" if any(k.startswith(EVAL) for k in odd) and "loss" not in odd else "train"


def _channel(values: Mapping[str, float], words: Vocabulary) -> str:
    if words.channel_a in values or words.channel_b in values:
        return "B" if values.get(words.channel_b, 0.0) >= 0.5 else "A"
    return "B" if any(k.startswith(words.rollout_families) for k in values) else "A"


# Where a row says its step: transformers, ms-swift before 3, LLaMA-Factory, exports of W&B; then as text, "3/8".
_STEPS = ("step", "global_step", "current_steps", "iteration", "train/global_step", "_step")
_PLACE = frozenset({*_STEPS, "total_steps", "epoch", "percentage", "throughput", "total_tokens"})


def _step(record: Mapping[str, Any]) -> int | None:
    """A row's optimizer step, None where no key says it."""
    for key in _STEPS:
        step = plain(record.get(key))
        if isinstance(step, float) and step.is_integer():
            step = int(step)
        if isinstance(step, int) and not isinstance(step, bool) and abs(step) < LARGEST_STEP:
            return step
    for key in ("global_step/max_steps", "iteration"):
        progress = record.get(key)
        head = progress.split("/")[0].strip() if isinstance(progress, str) else ""
        if head.isascii() and head.isdigit() and len(head) < 19:
            return int(head)
    return None
