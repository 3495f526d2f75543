"""The detection power as the book says it: from what was measured beside the run, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.report.power import rate, read_power


def detection(fault: str, caught: list[str]) -> dict[str, object]:
    return {"fault": fault, "surface": "s", "summary": "", "expected": ["a.b"], "caught": caught, "missed": {}}


def test_misses_and_false_alarms_are_told_with_their_rates(tmp_path: Path) -> None:
    proof = {
        "schema": "coordexp-audit-faults/1",
        "detections": [detection("a.one", ["a.b"]), detection("a.two", [])],
        "unsound": {"a.c": "violated"},
        "unproven": [],
        "artifacts": [detection("a.three", ["a.b"])],
    }
    (tmp_path / "faults.json").write_text(json.dumps(proof))
    power = read_power(tmp_path)
    assert power is not None
    assert (power.faults, power.misses, power.judged, power.alarms) == (3, ("a.two",), 2, ("a.c",))
    assert "Of 3 deliberate faults 2 are noticed" in power.told()
    assert "33.3 %" in power.told() and "50.0 %" in power.told()


def test_nothing_measured_is_nothing_told_and_other_files_are_refused(tmp_path: Path) -> None:
    assert read_power(tmp_path) is None
    for content in ("{", "{}", '{"schema": "x", "detections": [], "unsound": {}, "unproven": []}'):
        (tmp_path / "faults.json").write_text(content)
        with pytest.raises(UsageError):
            read_power(tmp_path)


def test_no_event_among_many_has_an_interval_that_says_how_many() -> None:
    assert rate(0, 356) == "0.0 %, 95 % interval 0.0 to 1.1"
    assert rate(5, 5).startswith("100.0 %")
    assert rate(0, 0) == "not measured"
