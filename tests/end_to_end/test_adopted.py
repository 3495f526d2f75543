"""What a project needs to live with the audit: its own settings, accepted violations, annotations, one schema."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from coordexp_audit_lib.cli.commands import _parser, main
from coordexp_audit_lib.cli.settings import take_settings
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.finding import Finding, Like, Violation
from coordexp_audit_lib.report import baseline
from coordexp_audit_lib.report.github import commands
from coordexp_audit_lib.run.parameters import refuse_unknown

CHECK = ["check", "--boundary", "packing"]
ACCEPTED = """[[accepted]]
claim = "packing.each_once"
kind = "sample 3 stands in no pack"
most = 2
reason = "known, see #12"
date = 2026-11-27
"""


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("audited")
    assert main([*CHECK, "--out", str(out), "-q"]) == 1
    return out


# ---- settings of the audited project ------------------------------------------------------------------------------


def settled(root: Path, table: str, *options: str) -> tuple[Any, str]:
    (root / "pyproject.toml").write_text(f"[project]\nname = 'x'\n\n[tool.coordexp-audit]\n{table}\n")
    arguments = _parser().parse_args(["check", "--target", str(root), *options])
    return arguments, take_settings(arguments)


def test_the_trees_settings_fill_in_what_the_command_line_leaves_open(tmp_path: Path) -> None:
    table = "ignore = ['packing.capacity']\nfail-on = 'P0'\nbaseline = 'accepted.toml'\nconfig = ['a.yaml']"
    arguments, told = settled(tmp_path, table, "--fail-on", "P2")
    assert (arguments.ignore, arguments.fail_on, arguments.config) == (["packing.capacity"], "P2", ["a.yaml"])
    assert arguments.baseline == tmp_path / "accepted.toml"
    assert "pyproject.toml: " in told and "fail-on" not in told and "packing.capacity" in told
    arguments, told = settled(tmp_path, table, "--isolated")
    assert (arguments.ignore, arguments.fail_on, told) == ([], None, "")


def test_what_the_tree_ignores_is_ignored_by_a_run_too(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.coordexp-audit]\nignore = ['silence']\nselect = ['s']\n")
    arguments = _parser().parse_args(["run", "--target", str(tmp_path), "--out", str(tmp_path / "run")])
    told = take_settings(arguments)
    assert (arguments.ignore, arguments.select) == (["silence"], ["s"]) and "ignore" in told and "select" in told


def test_a_run_tells_and_publishes_the_chosen_claims_alone(tmp_path: Path) -> None:
    chosen = ["--boundary", "silence", "--ignore", "silence.errors"]
    options = ["--target", "reference", *chosen, "--out", str(tmp_path / "r")]
    assert main(["run", *options, "-q"]) == 0
    told = {f["invariant"] for f in json.loads((tmp_path / "r" / "audit.json").read_text())["findings"]}
    assert told == {"silence.no_blanket_suppression"}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("ignroe = ['a']", "did you mean ignore?"),
        ("ignore = 'a'", "Expected `array"),
        ("fail-on = 'P9'", "fail-on is 'P9'"),
        ("python = '/bin/evil'", "not for the audited tree to say"),
        ("claims = ['own.py']", "not for the audited tree to say"),
        ("= 3", "not TOML"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(table: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"pyproject\.toml") as caught:
        settled(tmp_path, table)
    assert said in str(caught.value)


# ---- accepted violations ------------------------------------------------------------------------------------------


def violated(*kinds: tuple[str, int], config: str | None = None) -> Finding:
    told = tuple(Like(message, count, "P0", "spec", "this config", ()) for message, count in kinds)
    count = sum(n for _, n in kinds)
    shown = [Violation(message) for message, _ in kinds]
    return Finding(
        *("packing.each_once", "packing", "P0", "B", "violated", 9, config, "c", shown, count, [], "", "", "", 0.0),
        authority="spec",
        reach="this config",
        kinds=told,
    )


def test_a_violation_is_accepted_by_kind_and_number_and_never_more_than_that(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_text(ACCEPTED)
    (entry,) = baseline.read_baseline(tmp_path / "b.toml")
    known = ("sample 812 stands in no pack", 2)
    cases = [
        (violated(known), True),
        (violated(("sample 812 stands in no pack", 3)), False),
        (violated(known, ("sample 4 stands in two packs", 1)), False),
        (violated(("sample 4 stands in two packs", 1)), False),
    ]
    for finding, taken in cases:
        (told,), stale = baseline.accept([finding], [entry])
        assert bool(told.accepted) is taken and told.counts is not taken, finding.kinds
        assert bool(stale) is (finding.kinds[0] != cases[0][0].kinds[0])
    (told,), _ = baseline.accept([cases[0][0]], [entry])
    assert told.accepted == "known, see #12 (2026-11-27)" and told.status == "violated"


def test_an_entry_holds_in_its_own_configs_only() -> None:
    entry = baseline.Accepted("packing.each_once", "k", "r", date(2026, 1, 1), 1, ("a.yaml",))
    told, stale = baseline.accept([violated(("k", 1), config="a.yaml"), violated(("k", 1), config="b.yaml")], [entry])
    assert [bool(f.accepted) for f in told] == [True, False] and not stale


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("reason =", "raeson =", "did you mean reason?"),
        ("date = 2026-11-27\n", "", "missing required field `date`"),
        ('"known, see #12"', '" "', "`reason` is empty"),
        ("[[accepted]]", "[[acepted]]", "write entries as [[accepted]]"),
        ("most = 2", "most =", "not TOML"),
    ],
)
def test_an_entry_without_reason_or_date_or_with_a_typo_is_refused(
    old: str, new: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "b.toml").write_text(ACCEPTED.replace(old, new))
    with pytest.raises(UsageError, match=r"b\.toml") as caught:
        baseline.read_baseline(tmp_path / "b.toml")
    assert said in str(caught.value)


def test_what_was_accepted_is_listed_everywhere_and_fails_no_more(
    audited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "accepted.toml", tmp_path / "out"
    assert main(["baseline", "new", str(file), "--audit", str(audited), "--reason", "known <b>"]) == 0
    file.write_text(file.read_text() + ACCEPTED.replace("sample 3 stands in no pack", "of old"))
    capsys.readouterr()
    assert main([*CHECK, "--baseline", str(file), "--out", str(out)]) in (0, 3)
    told = capsys.readouterr()
    assert " accepted" in told.out and "packing.each_once is not violated so any more: of old" in told.err
    made = json.loads((out / "audit.json").read_text())
    assert made["summary"]["violated"] == 0 and made["summary"]["accepted"] > 0
    kept = [f for f in made["findings"] if f["accepted"]]
    assert kept and all(f["status"] == "violated" and f["violations"] for f in kept)
    (run,) = json.loads((out / "audit.sarif").read_text())["runs"]
    silenced = [r["suppressions"] for r in run["results"] if "suppressions" in r]
    assert silenced and all(s["justification"].startswith("known <b> (") for (s,) in silenced)
    assert "accepted: known &lt;b&gt;" in (out / "junit.xml").read_text()
    assert main(["baseline", "new", str(file), "--audit", str(audited), "--reason", "again", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["added"] == 0


# ---- other readers ------------------------------------------------------------------------------------------------


def test_github_is_told_of_what_counts_at_its_place(audited: Path) -> None:
    made = json.loads((audited / "audit.json").read_text())
    first = next(f for f in made["findings"] if f["violations"] and f["violations"][0]["where"])
    first["violations"][0]["message"] = "100% wrong,\n::error::forged"
    lines = list(commands(made, "sub/tree"))
    counted = [f for f in made["findings"] if f["status"] == "violated" and f["reach"] != "none" and not f["same_as"]]
    errors = [f for f in made["findings"] if f["status"] == "error"]
    assert len(lines) == len(counted) + len(errors) and not any("\n" in line for line in lines)
    where = first["violations"][0]["where"]
    assert (
        f"file=sub/tree/{where['path']},line={where['line']},title={first['invariant']}::100%25 wrong,%0A" in lines[0]
    )


def test_annotations_come_by_themselves_in_a_workflow_and_never_into_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert main(CHECK) == 1
    assert "\n::error file=" in capsys.readouterr().out
    assert main([*CHECK, "--json"]) == 1
    json.loads(capsys.readouterr().out)


def test_quiet_prints_what_fails_and_statistics_count_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*CHECK, "-q"]) == 1
    quiet = capsys.readouterr()
    assert quiet.out and not quiet.err
    assert all(line.startswith(("P0 packing.", "P1 packing.", "error ")) for line in quiet.out.splitlines())
    assert main([*CHECK, "--statistics"]) == 1
    rows = capsys.readouterr().out.splitlines()[2:]
    numbers = [int(row.split()[0]) for row in rows]
    assert numbers == sorted(numbers, reverse=True) and any("packing.each_once" in row for row in rows)
    assert main(["check", "--target", "reference", "--boundary", "coordjson", "-q"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "words",
    [
        ["check", "--target", "reference", "--python", "python3"],
        ["check", "--target", "coordexp-b46e74f", "--readable", "x"],
        ["record", "--name", "x", "--time-limit", "3"],
        ["check", "--json", "--verbose"],
        ["data", "x.jsonl", "--json", "--statistics"],
    ],
)
def test_an_option_without_effect_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "no effect" in capsys.readouterr().err


def test_help_names_the_boundaries_and_shells_complete_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["check", "--help"])
    assert "coordjson, template, packing" in " ".join(capsys.readouterr().out.split())
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out
    assert "--baseline" in script and "upstream isolation" in script
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


DECLARED = "target = 'x'\nseed: int = 0\n"


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([DECLARED, "# Parameters\nseed = 1\n"], ""),
        ([DECLARED, "print(1)", "# other\ntarrget = 1"], ""),
        ([DECLARED, '# Parameters\ntarrget = "y"\n'], "did you mean target?"),
        ([DECLARED, "# Parameters\nzzz = 1\n"], "use target, seed"),
    ],
)
def test_a_parameter_that_the_notebook_does_not_have_makes_it_fail(cells: list[str], said: str) -> None:
    if not said:
        refuse_unknown(cells)
        return
    with pytest.raises(UsageError, match="the notebook has no parameter") as caught:
        refuse_unknown(cells)
    assert said in str(caught.value)


# ---- the schema ---------------------------------------------------------------------------------------------------


def log(path: Path) -> list[str]:
    path.write_text('{"loss": 1.0, "step": 1}\n{"loss": 0.5, "step": 2}\n')
    return [str(path)]


def batch(path: Path) -> list[str]:
    np.savez(path, input_ids=np.array([[1, 2, 3]]), labels=np.array([[-100, 2, 3]]), position_ids=np.array([[0, 1, 2]]))
    return [str(path)]


def data(path: Path) -> list[str]:
    path.write_text('{"images": ["a.jpg"], "width": 9, "height": 9, "objects": []}\nnot json\n')
    return [str(path)]


def rollout(path: Path) -> list[str]:
    path.write_text('{"prompt_token_ids": [1], "token_ids": [2, 3], "logprobs": [-0.1, -0.2]}\n')
    return [str(path), "--batch", *batch(path.with_suffix(".npz"))]


def manifest(path: Path) -> list[str]:
    path.mkdir()
    (path / "args.json").write_text("{}")
    return [str(path)]


KINDS: dict[str, Callable[[Path], list[str]]] = {
    "check": lambda path: ["--target", "reference", "--boundary", "coordjson"],
    "data": lambda path: data(path / "d.jsonl"),
    "batch": lambda path: batch(path / "b.npz"),
    "rollout": lambda path: rollout(path / "r.jsonl"),
    "metrics": lambda path: log(path / "l.jsonl"),
    "manifest": lambda path: manifest(path / "run"),
    "upstream": lambda path: [],
}


@pytest.mark.parametrize("command", KINDS)
def test_every_commands_document_fits_the_published_schema(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, *KINDS[command](tmp_path), "--json"]) in (0, 1, 3)
    published = json.loads((files("coordexp_audit_lib") / "resources" / "audit.schema.json").read_text("utf-8"))
    jsonschema.validate(json.loads(capsys.readouterr().out), published)
