"""A large file in parts: the same findings whatever the parts, the processes and their order, and whoever is killed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.geometry.artifact import How, audit_file, audit_files, parts
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.kit import spread

boundaries.load(["geometry"])
FAULTS: list[dict[str, Any]] = [
    {"width": 0},
    {"height": "x"},
    {"images": ["/a.png"]},
    {"objects": [{"desc": "a"}]},
    {"objects": [{"desc": " ", "bbox_2d": [1, 2, 3, 4]}]},
    {"objects": [{"desc": "a", "bbox_2d": [9, 2, 3, 4]}]},
    {"objects": [{"desc": "a", "bbox_2d": [1, 2, 3, 1000]}]},
    {"objects": 7},
]


def said(findings: list[Finding]) -> Any:
    return [msgspec.structs.replace(f, seconds=0.0) for f in findings]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5000 records, of which some are wrong in many ways, and some lines are none."""
    rng, lines = Random(0), []
    for i in range(5000):
        x = sorted(rng.sample(range(1000), 2))
        record = {
            "images": [f"{i}.png"],
            "objects": [{"desc": "a", "bbox_2d": [x[0], 1, x[1], 2]}],
            "width": 9,
            "height": 9,
        }
        text = json.dumps({**record, **(rng.choice(FAULTS) if rng.random() < 0.2 else {})})
        lines.append(text[: rng.randrange(len(text))] if rng.random() < 0.02 else text)
    made = tmp_path_factory.mktemp("data") / "train.jsonl"
    made.write_text("\n".join(lines))
    return made


@pytest.mark.parametrize("size", [10_000, 77_777])
def test_findings_are_the_same_whatever_the_parts_and_their_order(
    path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = said(audit_file(path, How()))
    monkeypatch.setattr(parts, "PART", size)

    def backwards(work: Any, tasks: Any, jobs: int, scheduler: str) -> Iterator[Any]:
        assert len(tasks) > 5
        yield from [(n, msgspec_free(work(tasks[n]))) for n in reversed(range(len(tasks)))]

    monkeypatch.setattr("coordexp_audit_lib.boundaries.geometry.artifact.spread", backwards)
    assert said(audit_files([str(path)], How(), jobs=2)) == whole
    assert max(f.violation_count for f in whole) > 500


def msgspec_free(part: Any) -> Any:
    """A part as it comes back from another process."""
    import pickle

    return pickle.loads(pickle.dumps(part))


def test_files_of_one_name_are_told_apart(path: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train.jsonl").write_text(
            json.dumps({"images": [], "objects": [], "width": 0, "height": 9})
        )
    names = [str(tmp_path / folder / "train.jsonl") for folder in ("a", "b")]
    contracts = [f for f in audit_files(names, How()) if f.invariant.endswith("record_contract")]
    assert [f.config for f in contracts] == names
    assert {f.config for f in audit_files(names[:1], How())} == {"train.jsonl"}


def test_several_processes_say_what_one_says(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART", 60_000)
    other = path.with_name("other.jsonl")
    other.write_bytes(path.read_bytes())
    alone = said([f for p in (path, other) for f in audit_file(p, How())])
    assert said(audit_files([str(path), str(other)], How(), jobs=2)) == alone


def once_killed(folder: str) -> str:
    """Is killed the first time, and says when it was not."""
    mark = Path(folder, "was here")
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def doubled(number: int) -> int:
    return 2 * number


def work(task: Any) -> Any:
    return once_killed(task) if isinstance(task, str) else doubled(task)


def test_a_process_that_is_killed_costs_time_and_no_result(tmp_path: Path) -> None:
    tasks = [1, str(tmp_path), 3, 4, 5]
    assert dict(spread.spread(work, tasks, 2)) == {0: 2, 1: "done", 2: 6, 3: 8, 4: 10}


def killed(task: int) -> int:
    if task == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def test_what_kills_every_process_is_named(tmp_path: Path) -> None:
    with pytest.raises(spread.Lost) as lost:
        dict(spread.spread(killed, range(4), 2))
    assert lost.value.number == 2


def test_an_address_without_a_scheduler_is_one_clear_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "CONNECT_SECONDS", 0.2)
    with pytest.raises(UsageError, match=r"tcp://127\.0\.0\.1:9: is no Dask scheduler"):
        audit_files([str(path)], How(), scheduler="tcp://127.0.0.1:9")


def test_a_dask_cluster_says_what_one_process_says(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed: Any = pytest.importorskip("distributed")
    monkeypatch.setattr(parts, "PART", 100_000)
    with distributed.LocalCluster(2, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster:
        found = audit_files([str(path)], How(), scheduler=cluster.scheduler_address)
    assert said(found) == said(audit_file(path, How()))
