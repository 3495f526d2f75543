"""Read ms-swift's logging.jsonl and transformers' trainer_state.json, line by line and in bounded memory.

A file that is no log is refused in one line that says where; what a log may hold but should not (NaN, text where a
number belongs) is kept for the predicates.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from coordexp_audit_lib.boundaries.metrics.predicates.log import Log, Row, row_of
from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import Vocabulary
from coordexp_audit_lib.core.errors import UsageError

MAX_LINE = 8 << 20
MAX_STATE = 64 << 20
MAX_VALUES = 5_000_000
BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def read_jsonl(path: Path, words: Vocabulary) -> Log:
    """Read one JSON object a line.

    Raises:
        UsageError: the file is empty or binary, starts with a byte order mark, or has a line that is longer than
            `MAX_LINE`, cut off, no JSON object, or names a key twice.
    """
    return Log(path.name, bounded(_jsonl_rows(path, words), path.name), words, numbered=True)


def _jsonl_rows(path: Path, words: Vocabulary) -> Iterator[Row]:
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
                yield row_of(parse(line, where, last=not line.endswith(b"\n")), number, words)


def read_state(path: Path, words: Vocabulary) -> Log:
    """Read the `log_history` of a trainer_state.json; its rows are numbered by entry, from 1.

    Raises:
        UsageError: the file is larger than `MAX_STATE`, no JSON object, or has no list `log_history` of objects.
    """
    with _opened(path) as file:
        text = file.read(MAX_STATE + 1)
    if len(text) > MAX_STATE:
        raise UsageError(f"is larger than {MAX_STATE >> 20} MiB", where=path.name, remedy="audit logging.jsonl instead")
    if text.startswith(BOMS):
        raise UsageError("starts with a byte order mark", where=path.name, remedy="save it as UTF-8 without one")
    history = parse(text, path.name, last=True).get("log_history")
    if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
        remedy = "give the file that the trainer wrote with a checkpoint"
        raise UsageError("has no list of objects `log_history`", where=path.name, remedy=remedy)
    rows = (row_of(e, n, words) for n, e in enumerate(history, 1))
    return Log(path.name, bounded(rows, path.name), words)


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
    try:
        record = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (_Twice, RecursionError, ValueError) as error:
        what, remedy = _told(error, last and text.lstrip().startswith(b"{"))
        raise UsageError(what, where=where, remedy=remedy) from error
    if not isinstance(record, dict):
        what = f"is a JSON {type(record).__name__}, no object"
        raise UsageError(what, where=where, remedy="give a log, one object a line")
    return record


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
