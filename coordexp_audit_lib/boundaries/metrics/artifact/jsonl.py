"""Read ms-swift's logging.jsonl and transformers' trainer_state.json, line by line and in bounded memory.

A file that is no log is refused in one line that says where; what a log may hold but should not (NaN, text where a
number belongs) is kept for the predicates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from coordexp_audit_lib.boundaries.metrics.predicates.log import COLUMNS, Log, Row, row_of
from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import Vocabulary
from coordexp_audit_lib.core.errors import UsageError

MAX_LINE = 8 << 20
MAX_STATE = 64 << 20
MAX_VALUES = 5_000_000
PEEKED = 64 << 10
MANY = 64  # rows of which the keys tell who wrote them
HISTORY = re.compile(rb'"log_history"\s*:\s*\[')
OTHER = "rows of metrics"
FORMS: dict[str, tuple[frozenset[str], ...]] = {
    "LLaMA-Factory's trainer log": (COLUMNS,),
    "ms-swift's log": (
        frozenset({"global_step/max_steps"}),
        frozenset({"train_speed(iter/s)"}),
        frozenset({"train_speed(s/it)"}),
    ),
    "an export of W&B": (frozenset({"_step", "_runtime"}), frozenset({"_step", "_timestamp"})),
    "rows of a trainer": (
        *(frozenset({"loss", step}) for step in ("step", "global_step", "epoch", "learning_rate", "lr")),
        frozenset({"train_loss", "train_runtime"}),
        frozenset({"eval_loss", "epoch"}),
        frozenset({"learning_rate", "grad_norm"}),
    ),
}
BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def read_jsonl(path: Path, words: Vocabulary) -> Log:
    """Read one JSON object a line.

    Raises:
        UsageError: the file is empty or binary, starts with a byte order mark, or has a line that is longer than
            `MAX_LINE`, cut off, no JSON object, or names a key twice.
    """
    seen: set[str] = set()
    rows = bounded(_jsonl_rows(path, words, seen), path.name)
    return Log(path.name, rows, words, numbered=True, form=form_of(seen))


def _jsonl_rows(path: Path, words: Vocabulary, seen: set[str]) -> Iterator[Row]:
    with _opened(path) as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            where = f"{path.name}:{number}"
            if number == 1 and line.startswith(BOMS):
                raise UsageError("starts with a byte order mark", where=where, remedy="save it as UTF-8 without one")
            if len(line) > MAX_LINE:
                remedy = "take the file that ms-swift wrote; a log's lines are some KiB long"
                raise UsageError(f"the line is longer than {MAX_LINE >> 20} MiB", where=where, remedy=remedy)
            if line.strip():
                record = parse(line, where, last=not line.endswith(b"\n"))
                if number <= MANY:
                    seen.update(record)
                yield row_of(record, number, words)


def form_of(keys: AbstractSet[str]) -> str:
    """Who writes rows with such keys, in words; `OTHER` where nothing tells."""
    return next((form for form, marks in FORMS.items() if any(keys >= mark for mark in marks)), OTHER)


def read_state(path: Path, words: Vocabulary) -> Log:
    """Read the `log_history` of a trainer_state.json, or a JSON array of such rows; they are numbered from 1.

    Raises:
        UsageError: the file is larger than `MAX_STATE`, no JSON object, or has no list `log_history` of objects.
    """
    with _opened(path) as file:
        text = file.read(MAX_STATE + 1)
    if len(text) > MAX_STATE:
        raise UsageError(f"is larger than {MAX_STATE >> 20} MiB", where=path.name, remedy="audit logging.jsonl instead")
    if text.startswith(BOMS):
        raise UsageError("starts with a byte order mark", where=path.name, remedy="save it as UTF-8 without one")
    value = _value(text, path.name, last=True)
    history = value.get("log_history") if isinstance(value, dict) else value if is_rows(value) else None
    if not isinstance(value, dict) and history is None:
        value = _object(value, path.name)
    if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
        remedy = "give the file that the trainer wrote with a checkpoint"
        raise UsageError("has no list of objects `log_history`", where=path.name, remedy=remedy)
    rows = (row_of(e, n, words) for n, e in enumerate(history, 1))
    form = "a transformers trainer state" if isinstance(value, dict) else "a JSON array of rows"
    return Log(path.name, bounded(rows, path.name), words, form=form)


def is_rows(value: Any) -> bool:
    """Whether a JSON value is a list of rows of metrics."""
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def holds_state(path: Path) -> bool:
    """Whether a file is one JSON value that holds rows, and no JSON lines: told by its content."""
    with _opened(path) as file:
        line = file.readline(PEEKED)
        more = bool(file.read(1))
    try:
        first = json.loads(line)
    except (ValueError, RecursionError):
        # Cut by the limit, or broken over lines; a line that is just no JSON is for the reader of lines to tell.
        return line.strip() in (b"{", b"[") or line.lstrip().startswith(b"[{") or HISTORY.search(line) is not None
    return is_rows(first) or (isinstance(first, dict) and not more and isinstance(first.get("log_history"), list))


def looks_like_log(path: Path) -> bool:
    """Whether a file below a folder is a log, by the keys of its first line, or its `log_history`."""
    with _opened(path) as file:
        head = file.read(PEEKED)
    line = head.splitlines()[0] if head else b""
    try:
        first = json.loads(line)
    except (ValueError, RecursionError):
        return HISTORY.search(head) is not None
    return isinstance(first, dict) and ("log_history" in first or form_of(first.keys()) != OTHER)


def bounded(rows: Iterator[Row], source: str) -> list[Row]:
    """The rows as a list, at least one, of no more than `MAX_VALUES` values together."""
    kept, values = [], 0
    for row in rows:
        kept.append(row)
        values += len(row.values) + 1
        if values > MAX_VALUES:
            raise UsageError(f"holds more than {MAX_VALUES} values", where=source, remedy="audit it in pieces")
    if not kept:
        raise UsageError("is empty: it has no row", where=source, remedy="give the log of a run that took a step")
    return kept


def parse(text: bytes, where: str, *, last: bool) -> dict[str, Any]:
    """One JSON object without repeated keys; NaN and infinities are let through. `last`: nothing stands behind it."""
    return _object(_value(text, where, last=last), where)


def _value(text: bytes, where: str, *, last: bool) -> Any:
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (_Twice, RecursionError, ValueError) as error:
        what, remedy = _told(error, last and text.lstrip().startswith(b"{"))
        raise UsageError(what, where=where, remedy=remedy) from error


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        what = f"is a JSON {type(value).__name__}, no object"
        raise UsageError(what, where=where, remedy="give a log, one object a line")
    return value


def _told(error: Exception, may_be_cut: bool) -> tuple[str, str]:
    """Why a text is no JSON object with each key once, and what to do."""
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8 text (byte {error.start})", "give a JSON lines log"
    if isinstance(error, _Twice):
        return f"names the key {error.key!r} twice", "a reader would keep the last of them: find out which is meant"
    if isinstance(error, RecursionError):
        return "is nested too deep", "give the log of a trainer: its lines are flat"
    if not isinstance(error, json.JSONDecodeError):  # an integer of more digits than Python converts
        return f"is no JSON: {str(error).split(';')[0]}", "give a JSON lines log"
    ends_early = error.msg.startswith("Unterminated string") or error.pos >= len(error.doc.rstrip())
    if may_be_cut and ends_early:  # the text was sound as far as it goes
        return "is cut off", "remove the unfinished line, or wait for the run to write it"
    return f"is no JSON: {error.msg} (column {error.colno})", "give a JSON lines log"


class _Twice(Exception):
    def __init__(self, key: str) -> None:
        self.key = key[:80]
        super().__init__(key)


def _unique(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise _Twice(key)
        made[key] = value
    return made


def _opened(path: Path) -> Any:
    try:
        return path.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read: {error.strerror}", where=path.name, remedy="check the path") from error
