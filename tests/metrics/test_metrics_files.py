"""Logs as files: three formats that say the same, folders, and every kind of file that is no log."""

from __future__ import annotations

import json
import math
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.metrics.artifact import events, jsonl
from coordexp_audit_lib.boundaries.metrics.artifact.run import audit_log, read_log, sources
from coordexp_audit_lib.boundaries.metrics.predicates.log import PROGRESS
from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import vocabulary
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.report.sources import PACKAGE

boundaries.load(["metrics"])
WORDS = vocabulary()
REAL = PACKAGE / "resources" / "stage2_logging.jsonl"
EVENTS = "events.out.tfevents.1.host.1.0"
GOOD = (
    b'{"loss": 1.0, "stage2/channel_a": 1.0, "stage2/channel_b": 0.0, "stage2_ab/b_ratio_realized": 0.0, "step": 1}\n'
)


def write_events(path: Path, records: list[tuple[int, dict[str, float]]]) -> Path:
    with path.open("wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(file_version="brain.Event:2").SerializeToString())
        for step, values in records:
            for tag, value in values.items():
                summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
                writer.write(Event(step=step, summary=summary).SerializeToString())
    return path


def real_records() -> list[dict[str, Any]]:
    return [json.loads(line) for line in REAL.read_text().splitlines()]


def step_of(record: dict[str, Any]) -> int:
    return int(record["global_step/max_steps"].split("/")[0])


def as_state(path: Path) -> Path:
    history = [{**{k: v for k, v in r.items() if k not in PROGRESS}, "step": step_of(r)} for r in real_records()]
    path.write_text(json.dumps({"global_step": 8, "log_history": history}))
    return path


def as_events(path: Path) -> Path:
    rows = []
    for record in real_records():
        values = {k: v for k, v in record.items() if k not in PROGRESS}
        tagged = {k if k.startswith("eval/") else f"train/{k}": v for k, v in values.items()}
        rows.append((step_of(record), tagged))
    return write_events(path, rows)


@pytest.mark.parametrize(("name", "write"), [("trainer_state.json", as_state), (EVENTS, as_events)])
def test_every_format_gives_the_verdicts_of_the_jsonl(tmp_path: Path, name: str, write: Callable[[Path], Path]) -> None:
    def verdicts(path: Path) -> dict[str, tuple[str, int]]:
        return {f.invariant: (f.status, f.violation_count) for f in audit_log(path)}

    assert verdicts(write(tmp_path / name)) == verdicts(REAL)


def test_a_folder_gives_each_log_its_findings(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "checkpoint-8").mkdir()
    as_events(tmp_path / "runs" / EVENTS)
    as_state(tmp_path / "checkpoint-8" / "trainer_state.json")
    (tmp_path / "logging.jsonl").write_bytes(REAL.read_bytes())
    (tmp_path / "args.json").write_text("{}")
    findings = audit_log(tmp_path)
    names = ["checkpoint-8/trainer_state.json", "logging.jsonl", f"runs/{EVENTS}"]
    assert [f.config for f in findings[::11]] == names
    assert len(findings) == 33
    assert {f.evidence[0].path for f in findings} == set(names)


def test_a_folder_without_a_log_and_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no log"):
        sources(tmp_path)
    with pytest.raises(UsageError, match="no such file"):
        sources(tmp_path / "missing")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (GOOD + GOOD[:50], r":2: is cut off"),
        (GOOD[:50] + b"\n" + GOOD, r":1: is no JSON"),
        (b"\x00\x01\x02\xff" * 100, r":1: is not UTF-8"),
        (b"\x89PNG\r\n\x1a\n", r":1: is not UTF-8"),
        (b"\x00" * 100, r":1: is no JSON"),
        (b"\xef\xbb\xbf" + GOOD, "byte order mark"),
        ("\ufeff".encode("utf-16"), "byte order mark"),
        (GOOD + b'{"loss": 1.0, "loss": 2.0}\n', r":2: names the key 'loss' twice"),
        (GOOD + b"[1, 2]\n", r":2: is a JSON list, no object"),
        (GOOD + b"3.5\n", r":2: is a JSON float, no object"),
        (b'{"a": ' + b"[" * 200_000 + b"\n", r":1: is (nested too deep|no JSON)"),
        (b'{"a": ' + b"9" * 5000 + b"}\n", r":1: is no JSON"),
    ],
)
def test_what_is_no_log_is_refused_in_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "logging.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=says) as refused:
        audit_log(path)
    assert "\n" not in str(refused.value)
    assert "Remedy:" in str(refused.value)


def test_a_line_of_two_gigabytes_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "logging.jsonl"
    with path.open("wb") as file:  # a sparse file: two GiB without a line break
        file.write(b'{"loss": "')
        file.truncate(2 << 30)
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match=r":1: the line is longer than 8 MiB"):
            read_log(path, WORDS)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("line", "claim", "subject"),
    [
        (b'{"loss": NaN, "step": 2}\n', "metrics.finite", "loss"),
        (b'{"loss": -Infinity, "step": 2}\n', "metrics.finite", "loss"),
        (b'{"loss": "0.5", "step": 2}\n', "metrics.finite", "loss"),
        (b'{"loss": [1], "step": 2}\n', "metrics.finite", "loss"),
        (b'{"loss": true, "step": 2}\n', "metrics.finite", "loss"),
        (b'{"loss": null, "step": 2}\n', "metrics.finite", "loss"),
    ],
)
def test_what_a_log_should_not_hold_is_a_finding(tmp_path: Path, line: bytes, claim: str, subject: str) -> None:
    path = tmp_path / "logging.jsonl"
    path.write_bytes(GOOD + line)
    found = {f.invariant: f for f in audit_log(path)}[claim]
    assert found.status == "violated"
    assert (found.violations[0].subject, found.violations[0].where and found.violations[0].where.line) == (subject, 2)


def test_a_stage1_log_is_unbound_where_claims_are_about_stage2(tmp_path: Path) -> None:
    path = tmp_path / "logging.jsonl"
    path.write_text("".join(json.dumps({"loss": 1.0, "step": n, "coord_diag/acc_top5": 0.5}) + "\n" for n in (1, 2)))
    status = {f.invariant: f.status for f in audit_log(path)}
    held = {i for i, s in status.items() if s == "held"}
    assert held == {"metrics.finite", "metrics.schema_stable", "metrics.step_once"}
    assert {s for i, s in status.items() if i not in held} == {"unbound"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[]", "is a JSON list"),
        ("{}", "no list of objects"),
        ('{"log_history": [1]}', "no list of objects"),
        ('{"log_history": []}', "is empty"),
        ('{"log_history": [{"loss": 1.0}', "is cut off"),
    ],
)
def test_a_broken_trainer_state(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "trainer_state.json"
    path.write_text(content)
    with pytest.raises(UsageError, match=says):
        audit_log(path)


def test_an_event_file_cut_anywhere_is_refused_or_shorter(tmp_path: Path) -> None:
    whole = write_events(tmp_path / EVENTS, [(1, {"train/loss": 1.0}), (2, {"train/loss": 2.0})]).read_bytes()
    ends, at = {0}, 0
    while at < len(whole):
        at += 16 + struct.unpack("<Q", whole[at : at + 8])[0]
        ends.add(at)
    path = tmp_path / f"cut.{EVENTS}"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        if size in ends:
            wanted = "is empty" if size <= sorted(ends)[1] else None
        else:
            wanted = "is cut off in the record at byte"
        if wanted is None:
            assert len(read_log(path, WORDS).rows) == 1
        else:
            with pytest.raises(UsageError, match=wanted):
                read_log(path, WORDS)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda b: b[:-6] + bytes([b[-6] ^ 1]) + b[-5:], "is damaged"),
        (lambda b: struct.pack("<Q", 1 << 60) + b[8:], "claims to be larger than 16 MiB"),
        (lambda b: b"\xff" * 64, "claims to be larger than 16 MiB"),
        (lambda b: bytes([b[0] - 1]) + b[1:], "is cut off|is damaged|claims"),
        (lambda b: b"not an event file", "claims to be larger|is cut off"),
    ],
)
def test_a_damaged_event_file(tmp_path: Path, edit: Callable[[bytes], bytes], says: str) -> None:
    path = write_events(tmp_path / EVENTS, [(1, {"train/loss": 1.0})])
    path.write_bytes(edit(path.read_bytes()))
    with pytest.raises(UsageError, match=says) as refused:
        read_log(path, WORDS)
    assert "Remedy:" in str(refused.value)


def test_logs_of_too_many_values_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MAX_VALUES", 20)
    path = tmp_path / "logging.jsonl"
    path.write_bytes(GOOD * 10)
    with pytest.raises(UsageError, match="more than 20 values"):
        read_log(path, WORDS)


def test_event_files_keep_float32_seeds_near_enough(tmp_path: Path) -> None:
    own = {"train/loss": 1.0, "train/stage2/channel_b": 1.0}
    seeds = [(s + 1, {**own, "train/rollout/seed_base": float(17 + s * 1_000_003)}) for s in range(30, 40)]
    path = write_events(tmp_path / EVENTS, seeds)
    found = {f.invariant: f for f in audit_log(path)}["metrics.identity_not_averaged"]
    assert found.status == "held"
    assert events.is_event_file(path)


def statuses(path: Path) -> dict[str, str]:
    return {f.invariant: f.status for f in audit_log(path)}


def test_a_value_of_the_same_step_hides_no_other(tmp_path: Path) -> None:
    path = write_events(tmp_path / "events.out.tfevents.1", [(1, {"train/loss": math.nan}), (1, {"train/loss": 1.0})])
    assert statuses(path) == {"metrics.finite": "violated", "metrics.step_once": "violated"}
    # transformers writes the epoch beside each kind of row
    rows = [(1, {"train/loss": 1.0, "train/epoch": 0.1}), (1, {"eval/loss": 1.0, "train/epoch": 0.1})]
    assert set(statuses(write_events(path, rows)).values()) == {"held"}
