"""Read TensorBoard event files with TensorBoard's own reader. No TensorFlow is needed.

A record is 8 bytes length, 4 bytes checksum of it, the event, 4 bytes checksum of the event. The lengths are walked
first, so that a file that was cut in a record is named as such and no record larger than `MAX_RECORD` is read.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.metrics.artifact.jsonl import bounded
from coordexp_audit_lib.boundaries.metrics.predicates.log import EVAL, SUMMARY, Log, Row, row_of
from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import Vocabulary
from coordexp_audit_lib.core.errors import UsageError

MAX_RECORD = 16 << 20
AGAIN = frozenset({"epoch"})
HEADER, FOOTER = 12, 4


def is_event_file(path: Path) -> bool:
    """Whether the file is one by its name, or opens as one: the first record says its version."""
    if "tfevents" in path.name:
        return True
    try:
        with path.open("rb") as file:
            return b"brain.Event:" in file.read(64)
    except OSError:
        return False


def read_events(path: Path, words: Vocabulary) -> Log:
    """The scalars of one event file, grouped by step; evaluation and summary values stand in rows of their own, and so
    does a value that the step has already. transformers writes `epoch` beside each kind of row: that is one value.

    transformers writes `train/` before each training metric and `eval/` for the others' `eval_`; that is undone.

    Raises:
        UsageError: the file is empty, cut in a record, has a record of more than `MAX_RECORD`, or a wrong checksum.
    """
    _check_lengths(path)
    values: list[tuple[int, str, float]] = list(_scalars(path))
    prefixed = all(tag.startswith(("train/", *EVAL)) for _, tag, _ in values)
    groups: dict[tuple[int, str, int], dict[str, Any]] = {}
    times: Counter[tuple[int, str]] = Counter()
    for step, tag, value in values:
        key = tag.removeprefix("train/") if prefixed else tag
        kind = "eval" if key.startswith(EVAL) else "summary" if key in SUMMARY else "train"
        again = times[step, key]
        if again and key in AGAIN and math.isfinite(value):
            continue
        times[step, key] += 1
        groups.setdefault((step, kind, again), {})[key] = value
    order = {"train": 0, "eval": 1, "summary": 2}
    numbered = enumerate(sorted(groups, key=lambda g: (g[0], order[g[1]], g[2])), 1)
    rows = (_row(groups[group], group, number, words) for number, group in numbered)
    return Log(path.name, bounded(rows, path.name), words, form="a TensorBoard event file")


def _row(values: dict[str, Any], group: tuple[int, str, int], number: int, words: Vocabulary) -> Row:
    return msgspec.structs.replace(row_of(values, number, words), kind=group[1], step=group[0])


def _check_lengths(path: Path) -> None:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            at = 0
            while at < size:
                head = file.read(HEADER)
                length = struct.unpack("<Q", head[:8])[0] if len(head) == HEADER else 0
                if len(head) < HEADER or (length <= MAX_RECORD and at + HEADER + length + FOOTER > size):
                    remedy = "wait for the run to write it, or cut the file there"
                    raise UsageError(f"is cut off in the record at byte {at}", where=path.name, remedy=remedy)
                if length > MAX_RECORD:
                    what = f"is no event file: the record at byte {at} claims to be larger than {MAX_RECORD >> 20} MiB"
                    raise UsageError(what, where=path.name, remedy="give a file that TensorBoard reads")
                at += HEADER + length + FOOTER
                file.seek(at)
    except OSError as error:
        raise UsageError(f"cannot read: {error.strerror}", where=path.name, remedy="check the path") from error


def _scalars(path: Path) -> Iterator[tuple[int, str, float]]:
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto import event_pb2
    from tensorboard.compat.tensorflow_stub import errors
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

    reader, number = PyRecordReader_New(str(path)), 0
    try:
        while True:
            try:
                reader.GetNext()
            except errors.OutOfRangeError:
                return
            number += 1
            event = event_pb2.Event.FromString(reader.record())
            for value in event.summary.value:
                scalar = _scalar(value)
                if scalar is not None:
                    yield int(event.step), str(value.tag), scalar
    except (errors.DataLossError, DecodeError) as error:
        what = f"is damaged: the checksum or the content of record {number + 1} is wrong"
        raise UsageError(what, where=path.name, remedy="take the file from the run's own folder again") from error
    finally:
        reader.file_handle.close()


def _scalar(value: Any) -> float | None:
    """A scalar as either generation of writers puts it: `simple_value`, or a tensor of one float."""
    which = value.WhichOneof("value")
    if which == "simple_value":
        return float(value.simple_value)
    if which != "tensor" or value.metadata.plugin_data.plugin_name not in ("", "scalars"):
        return None
    if value.tensor.dtype != 1 or value.tensor.tensor_shape.dim:  # 1: DT_FLOAT
        return None
    content = value.tensor.tensor_content
    if len(content) == 4:
        return float(struct.unpack("<f", content)[0])
    return float(value.tensor.float_val[0]) if len(value.tensor.float_val) == 1 else None
