"""The commands on artifacts: findings in the one shape, and one clear line for what can't be read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordexp_audit_lib.cli import main
from coordexp_audit_lib.report.sources import PACKAGE

LOG = PACKAGE / "resources" / "stage2_logging.jsonl"


def record(box: list[Any], **other: Any) -> dict[str, Any]:
    objects = [{"desc": "cat", "bbox_2d": box}]
    return {"images": ["a.jpg"], "width": 64, "height": 32, "objects": objects, **other}


def tokens(*bins: int) -> list[str]:
    return [f"<|coord_{k}|>" for k in bins]


GOOD = record(tokens(1, 2, 30, 40))


def write_lines(path: Path, *records: Any) -> Path:
    path.write_text("".join(f"{r if isinstance(r, str) else json.dumps(r)}\n" for r in records))
    return path


def judged(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    status = main([*arguments, "--json"])
    findings = json.loads(capsys.readouterr().out)["findings"]
    return status, {f["invariant"]: f for f in findings}


@pytest.mark.parametrize(
    ("bad", "invariant", "checked"),
    [
        (record(tokens(30, 2, 1, 40)), "geometry.box_ordered", 3),
        (record(["<|coord_1000|>", *tokens(2, 3, 4)]), "geometry.bins_in_range", 12),
        (record(tokens(1, 2, 3)), "geometry.record_contract", 3),
        (record(tokens(1, 2, 3, 4), width=0), "geometry.record_contract", 3),
        ("{not json", "geometry.record_contract", 3),
        ('{"images": [], "images": []}', "geometry.record_contract", 3),
    ],
)
def test_data_names_file_line_and_path(
    bad: Any, invariant: str, checked: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, found = judged(capsys, "data", str(write_lines(tmp_path / "train.jsonl", GOOD, GOOD, bad)))
    assert status == 1
    assert [name for name, f in found.items() if f["status"] == "violated"] == [invariant]
    where = found[invariant]["violations"][0]["where"]
    assert (where["path"], where["line"]) == ("train.jsonl", 3)
    assert found[invariant]["checked"] == checked


def test_data_counts_every_violation_and_shows_five(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_lines(tmp_path / "train.jsonl", *[record(tokens(30, 2, 1, 40))] * 100)
    _, found = judged(capsys, "data", str(path))
    ordered = found["geometry.box_ordered"]
    assert (ordered["violation_count"], len(ordered["violations"])) == (100, 5)


def test_data_judges_the_order_of_objects_only_if_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unsorted = record([])
    unsorted["objects"] = [{"desc": d, "bbox_2d": tokens(*b)} for d, b in (("b", (5, 8, 7, 9)), ("a", (1, 2, 3, 4)))]
    path = str(write_lines(tmp_path / "train.jsonl", unsorted))
    assert judged(capsys, "data", path)[0] == 0
    status, found = judged(capsys, "data", "--sorted", path)
    assert (status, found["geometry.never_reordered"]["status"]) == (1, "violated")


@pytest.mark.parametrize(("content", "status"), [("", 3), (json.dumps(GOOD), 0), ("\ufeff" + json.dumps(GOOD), 0)])
def test_data_without_records_is_no_pass(
    content: str, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(content)
    assert judged(capsys, "data", str(path))[0] == status


def pack(**changed: Any) -> dict[str, Any]:
    good = {
        "input_ids": np.arange(6, dtype=np.int64)[None],
        "labels": np.array([[-100, 1, 2, -100, 4, 5]]),
        "text_position_ids": np.array([[0, 1, 2, 0, 1, 2]]),
        "cu_seq_lens_q": np.array([0, 3, 6], dtype=np.int32),
        "cu_seq_lens_k": np.array([0, 3, 6], dtype=np.int32),
        "max_length_q": np.array(3, dtype=np.int32),
        "max_length_k": np.array(3, dtype=np.int32),
    }
    return {**good, **changed}


@pytest.mark.parametrize(
    ("changed", "invariant", "status"),
    [
        ({}, "packing.cu_seqlens", "held"),
        ({}, "packing.each_once", "unbound"),
        ({"cu_seq_lens_q": np.array([0, 2, 6], dtype=np.int32)}, "packing.cu_seqlens", "violated"),
        ({"text_position_ids": np.arange(6)[None]}, "packing.positions_restart", "violated"),
        ({"labels": np.array([[-100, 1, 2, 3, 4, 5]])}, "packing.no_cross_boundary_label", "violated"),
        ({"labels": np.array([[-100, 1, 2, -100, 4]])}, "packing.fields_aligned", "violated"),
    ],
)
def test_batch_says_of_each_claim_whether_the_tensors_decide_it(
    changed: dict[str, Any], invariant: str, status: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "packed.npz", **pack(**changed))
    _, found = judged(capsys, "batch", str(tmp_path / "packed.npz"))
    assert found[invariant]["status"] == status


def test_metrics_of_a_real_run(capsys: pytest.CaptureFixture[str]) -> None:
    status, found = judged(capsys, "metrics", str(LOG))
    assert status == 1
    assert {n for n, f in found.items() if f["status"] == "held"} == {
        "metrics.required_keys",
        "metrics.b_ratio_consistent",
        "metrics.finite",
        "metrics.reasons_add_up",
        "metrics.step_once",
    }
    assert found["metrics.identity_not_averaged"]["violation_count"] == 6


def test_manifest_of_a_run_and_its_difference_to_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, lr in (("a", 1e-4), ("b", 2e-4)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "resolved_config.json").write_text(json.dumps({"resolved": {"training": {"learning_rate": lr}}}))
    same = ("manifest", str(tmp_path / "b"), "--against", str(tmp_path / "b"))
    assert judged(capsys, *same)[0] == 3  # what neither run recorded was not compared
    for name in ("a/runtime_env.json", "a/run_metadata.json", "b/runtime_env.json", "b/run_metadata.json"):
        (tmp_path / name).write_text("{}")
    status, found = judged(capsys, "manifest", str(tmp_path / "a"))
    assert status == 1
    assert found["provenance.files_present"]["status"] == "violated"
    status, found = judged(capsys, "manifest", str(tmp_path / "b"), "--against", str(tmp_path / "a"))
    assert (status, found["provenance.rerun_drift"]["status"]) == (1, "violated")
    assert judged(capsys, *same)[0] == 0


@pytest.mark.parametrize("command", ["data", "batch", "metrics", "manifest"])
@pytest.mark.parametrize("kind", ["missing", "binary", "fifo"])
def test_what_cannot_be_read_is_one_clear_line_or_a_finding(
    command: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "input.bin"
    if kind == "fifo":  # nobody writes to it
        os.mkfifo(path)
    if kind == "binary":
        path.write_bytes(bytes(range(256)) * 40)
    status = main([command, str(path)])
    told = capsys.readouterr()
    assert status in (1, 2, 3)
    assert "Traceback" not in told.out + told.err
    if status == 2:
        assert told.err.count("\n") == 1
        assert "input.bin" in told.err
        assert "Remedy" in told.err


def test_many_calls_from_one_program_leave_nothing_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "packed.npz", **pack())
    (tmp_path / "broken.npz").write_bytes(b"PK" * 10)

    def held() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), len(list(Path("/proc/self/task").iterdir()))

    before = held()
    for _ in range(20):
        main(["batch", str(tmp_path / "packed.npz"), "--json"])
        main(["batch", str(tmp_path / "broken.npz"), "--json"])
    capsys.readouterr()
    assert held() == before
    assert {p.name for p in tmp_path.iterdir()} == {"packed.npz", "broken.npz"}
