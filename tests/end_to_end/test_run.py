"""`run`: notebooks and documents of one audit; interrupted, it goes on; a foreign folder is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coordexp_audit_lib.cli.commands import ANCHORED, main
from coordexp_audit_lib.core.errors import AuditError, UsageError
from coordexp_audit_lib.core.target import TargetInfo
from coordexp_audit_lib.run import audit as runs
from coordexp_audit_lib.run.audit import claim_folder, collect

ARGUMENTS = ["run", "--boundary", "coordjson", "--fail-on", "never", "--config", ANCHORED[1], "--out"]
INFO = TargetInfo(kind="reference", name="reference")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    assert main([*ARGUMENTS, str(out)]) == 0
    return out


def test_a_run_leaves_its_notebooks_and_documents(folder: Path) -> None:
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    page = "04_coordjson.stage2_ab-prod-ab_mixed"
    assert {"audit.json", "audit.sarif", "junit.xml", f"notebooks/{page}.ipynb", f"findings/{page}.json"} <= names
    document = json.loads((folder / "audit.json").read_text())
    assert document["configs"] == [ANCHORED[1]]
    assert {f["boundary"] for f in document["findings"]} == {"coordjson"}


def test_the_notebooks_name_no_folder_of_this_machine(folder: Path) -> None:
    for notebook in folder.glob("notebooks/*.ipynb"):
        assert str(folder.parent) not in notebook.read_text()


def test_started_again_it_runs_only_what_is_missing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executed = []
    monkeypatch.setattr("coordexp_audit_lib.run.notebooks._run", lambda job: executed.append(job.output.name) or "")
    assert main([*ARGUMENTS, str(folder)]) == 0
    assert executed == []


@pytest.mark.parametrize("spoil", ["foreign", "other seed"])
def test_a_folder_of_something_else_is_refused_and_left_alone(spoil: str, tmp_path: Path) -> None:
    if spoil == "foreign":
        (tmp_path / "thesis.tex").write_text("years of work")
    else:
        claim_folder(tmp_path, INFO, ["a.yaml"], 1)
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(UsageError, match="Remedy"):
        claim_folder(tmp_path, INFO, ["a.yaml"], 0)
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_replace_removes_a_run_of_ours_but_nothing_foreign(tmp_path: Path) -> None:
    claim_folder(tmp_path / "ours", INFO, ["a.yaml"], 1)
    claim_folder(tmp_path / "ours", INFO, ["a.yaml"], 0, replace=True)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError):
        claim_folder(foreign, INFO, ["a.yaml"], 0, replace=True)
    assert (foreign / "thesis.tex").exists()


def test_a_notebook_that_left_no_findings_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="left no findings"):
        collect(tmp_path, [ANCHORED[1]], ["coordjson"])


def test_two_notebooks_that_contradict_each_other_are_an_error(folder: Path, tmp_path: Path) -> None:
    (source,) = folder.glob("findings/*.json")
    (tmp_path / "findings").mkdir()
    findings = json.loads(source.read_text())
    for config, checked in zip(ANCHORED, (1, 2), strict=True):
        findings[0]["checked"] = checked
        name = runs.boundaries.page(runs.boundaries.boundary("coordjson"), config)
        (tmp_path / "findings" / f"{name}.json").write_text(json.dumps(findings))
    with pytest.raises(AuditError, match="disagree"):
        collect(tmp_path, ANCHORED, ["coordjson"])
