"""Many commits and a cluster: the same findings as one machine and one tree give, and nothing left of the trees."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.cli import main
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.kit import git
from coordexp_audit_lib.run import trees
from coordexp_audit_lib.run.parallel import AT_ONCE, Cluster, grouped
from coordexp_audit_lib.run.record import take
from coordexp_audit_lib.run.shares import Opening
from coordexp_audit_lib.targets.reference import ReferenceTarget


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits, hooks and a filter that would tell if they ran."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name in ("first", "second"):
        (folder / "code.py").write_text(f"name = {name!r}\n")
        (folder / ".gitattributes").write_text("*.py filter=told\n")
        git.commit_all(folder, name)
    (folder / ".git" / "hooks" / "post-checkout").write_text(f"#!/bin/sh\ntouch {tmp_path}/hook\n")
    (folder / ".git" / "hooks" / "post-checkout").chmod(0o755)
    subprocess.run(["git", "-C", folder, "config", "filter.told.smudge", f"touch {tmp_path}/filter; cat"], check=True)
    return folder


def test_a_commit_has_a_tree_of_its_own_and_none_of_the_repositorys_programs(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    commits = trees.commits_of(repository, ["HEAD~1..HEAD", "HEAD~1"])
    assert len(commits) == 2
    with trees.tree_at(repository, commits[1]) as tree:
        assert (tree / "code.py").read_text() == "name = 'first'\n"
        assert git.git_state(tree)[::2] == (commits[1], False)
    assert {p.name for p in tmp_path.iterdir()} == {"theirs"}
    assert (repository / "code.py").read_text() == "name = 'second'\n"


@pytest.mark.parametrize("word", ["nowhere", "HEAD..HEAD", "--output=x", "a..b"])
def test_a_revision_that_there_is_none_of_is_refused(repository: Path, word: str) -> None:
    with pytest.raises(UsageError, match="Remedy: give commits"):
        trees.commits_of(repository, [word])


def test_a_tree_is_gone_when_who_made_it_is_killed(tmp_path: Path) -> None:
    held = (
        "import sys, time; from coordexp_audit_lib.run.trees import fleeting\n"
        "with fleeting() as f: (f / 'x').touch(); print(f, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", held], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert (folder / "x").exists()
        process.kill()
    end = time.monotonic() + 10
    while folder.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not folder.exists()


def test_commits_are_for_a_repository_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--target", "reference", "--commit", "HEAD"]) == 2
    assert "--commit needs a checkout" in capsys.readouterr().err


def test_a_commit_that_can_not_be_audited_costs_the_others_nothing(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["check", "--json", "--target", str(repository), "--commit", "HEAD~1", "HEAD"])
    said = capsys.readouterr()
    audits = json.loads(said.out)["audits"]
    assert status == 2 and [a["status"] for a in audits] == [2, 2]
    assert all("no tree of a known pipeline" in a["error"] for a in audits)


def test_many_configs_are_judged_in_pairs_whatever_the_processes() -> None:
    class One:  # a claim, as far as grouping looks
        kind, boundary, per_config = "B", "packing", True

    configs = [str(n) for n in range(2 * AT_ONCE + 1)]
    made: Any = [One] * len(configs)
    assert [len(g) for g in grouped(made, configs)] == [AT_ONCE, AT_ONCE, 1]


def test_a_dask_cluster_judges_a_target_as_one_process_does(capsys: pytest.CaptureFixture[str]) -> None:
    distributed: Any = pytest.importorskip("distributed")
    command = ["check", "--json", "--target", "reference", "--boundary", "coordjson"]

    def found(*more: str) -> list[Any]:
        status, document = main([*command, *more]), json.loads(capsys.readouterr().out)
        return [status, *({**f, "seconds": 0} for f in document["findings"])]

    with distributed.LocalCluster(2, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster:
        assert found("--scheduler", cluster.scheduler_address) == found()


def test_a_dask_cluster_records_what_one_process_records() -> None:
    distributed: Any = pytest.importorskip("distributed")

    def taken(cluster: Cluster | None = None) -> list[Any]:
        made = take(ReferenceTarget(), pipeline().configs[:1], names=["coordjson"], cluster=cluster)
        return [made.recording, *(msgspec.structs.replace(f, seconds=0.0) for f in made.findings)]

    boundaries.load(["coordjson"])
    with distributed.LocalCluster(2, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as made:
        opening = Opening("reference", names=("coordjson",))
        assert taken(Cluster(made.scheduler_address, opening)) == taken()
