"""`run`: notebooks and documents of one audit; interrupted, it goes on; a foreign folder is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coordexp_audit_lib.cli.commands import ANCHORED, main
from coordexp_audit_lib.core.errors import AuditError, UsageError
from coordexp_audit_lib.core.folder import MARKER, SCHEMA, OwnFolder, write_atomically
from coordexp_audit_lib.core.target import TargetInfo
from coordexp_audit_lib.run import audit as runs
from coordexp_audit_lib.run.audit import claimed, collect
from coordexp_audit_lib.targets.reference import ReferenceTarget

ARGUMENTS = ["run", "--boundary", "coordjson", "--fail-on", "never", "--config", ANCHORED[1], "--out"]
INFO = TargetInfo(kind="reference", name="reference")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out {g} {seed}"  # what a name may hold, and papermill would fill in
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
        with claimed(tmp_path, INFO, ["a.yaml"], 1):
            pass
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(UsageError, match="Remedy"), claimed(tmp_path, INFO, ["a.yaml"], 0):
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_replace_removes_a_run_of_ours(tmp_path: Path) -> None:
    with claimed(tmp_path / "ours", INFO, ["a.yaml"], 1) as own:
        write_atomically(own.root / "findings" / "x.json", "[]")
    with claimed(tmp_path / "ours", INFO, ["a.yaml"], 0, replace=True) as own:
        assert not (own.root / "findings").exists()


@pytest.mark.parametrize(
    "name", ["notebooks/mine.ipynb", "thesis.tex", "findings/x.json", "book/thesis.tex", "run.json"]
)
def test_replace_removes_nothing_that_we_did_not_write(name: str, tmp_path: Path) -> None:
    with claimed(tmp_path / "ours", INFO, ["a.yaml"], 1) as own:
        write_atomically(own.root / "findings" / "x.json", "[]")
    mine = tmp_path / "ours" / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("years of work")
    before = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*"))
    with (
        pytest.raises(UsageError, match=f"{name}.*Remedy"),
        claimed(tmp_path / "ours", INFO, ["a.yaml"], 0, replace=True),
    ):
        pass
    assert (
        sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*")) == before and mine.read_text() == "years of work"
    )


@pytest.mark.parametrize("kind", ["another program's", "a link"])
def test_replace_leaves_the_run_of_another_program_and_what_a_link_leads_to(kind: str, tmp_path: Path) -> None:
    real = tmp_path / "real"
    if kind == "a link":
        with claimed(real, INFO, ["a.yaml"], 1):
            pass
        (tmp_path / "out").symlink_to(real)
    else:
        real.mkdir()
        (real / "run.json").write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    out = tmp_path / "out" if kind == "a link" else real
    with pytest.raises(UsageError, match="Remedy"), claimed(out, INFO, ["a.yaml"], 0, replace=True):
        pass
    assert sorted(tmp_path.rglob("*")) == before


def test_two_runs_into_one_folder_are_told_apart(tmp_path: Path) -> None:
    with (
        claimed(tmp_path, INFO, ["a.yaml"], 0),
        pytest.raises(UsageError, match="another process"),
        claimed(tmp_path, INFO, ["a.yaml"], 0),
    ):
        pass
    with claimed(tmp_path, INFO, ["a.yaml"], 0):
        pass


def test_what_was_left_half_done_is_gone_at_the_next_start(tmp_path: Path) -> None:
    own = OwnFolder.claim(tmp_path, "run")
    half, kernel = own.passing(".ipynb"), own.passing()
    half.write_text("{")
    kernel.mkdir()
    (kernel / "connection.json").write_text("{}")
    with claimed(tmp_path, INFO, ["a.yaml"], 0):
        assert {p.name for p in tmp_path.iterdir()} == {MARKER, "run.json", ".gitignore"}


@pytest.mark.parametrize("name", ["../mine", "/{}/mine", "mine", "x/../../mine", ".passing-0123456789abcdeg", "."])
def test_a_forged_marker_removes_nothing(name: str, tmp_path: Path) -> None:
    """Somebody's repository may hold one that lists what lies beside it as passing."""
    (tmp_path / "out" / "mine").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    row = json.dumps(["*", name.format(str(tmp_path)[1:])])
    (tmp_path / "out" / MARKER).write_text(json.dumps({"schema": SCHEMA, "kind": "run"}) + "\n" + row + "\n")
    with claimed(tmp_path / "out", INFO, ["a.yaml"], 0):
        pass
    assert (tmp_path / "mine").is_dir() and (tmp_path / "out" / "mine").is_dir()
    (tmp_path / "out" / MARKER).rename(tmp_path / "marker")
    (tmp_path / "out" / MARKER).symlink_to(tmp_path / "marker")
    with pytest.raises(UsageError, match="no run of ours"), claimed(tmp_path / "out", INFO, ["a.yaml"], 0):
        pass


def test_a_notebook_that_left_no_findings_costs_none(tmp_path: Path) -> None:
    found = collect(ReferenceTarget(), tmp_path, [ANCHORED[1]], 0, ["coordjson"])
    assert {f.boundary for f in found} == {"coordjson"} and {f.status for f in found} == {"held"}


def test_two_notebooks_that_contradict_each_other_are_an_error(folder: Path, tmp_path: Path) -> None:
    (source,) = folder.glob("findings/*.json")
    (tmp_path / "findings").mkdir()
    findings = json.loads(source.read_text())
    for config, checked in zip(ANCHORED, (1, 2), strict=True):
        findings[0]["checked"] = checked
        name = runs.boundaries.page(runs.boundaries.boundary("coordjson"), config)
        (tmp_path / "findings" / f"{name}.json").write_text(json.dumps(findings))
    with pytest.raises(AuditError, match="disagree"):
        collect(ReferenceTarget(), tmp_path, ANCHORED, 0, ["coordjson"])
