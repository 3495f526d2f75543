"""Export to trackers: what is written of an audit, told by a tracker of the same interface that keeps it in memory.

That the real ones take it, offline, was tried with wandb 0.31 and mlflow-skinny 3.17, which no install of ours brings.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coordexp_audit_lib.cli import main
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.report.document import write_documents


@pytest.fixture
def audited(tmp_path: Path, make_document: Callable[..., Any], statuses: Callable[..., list[Finding]]) -> Path:
    write_documents(tmp_path, make_document(statuses(("first \ud800", "second"))))
    return tmp_path


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the trackers were given."""
    kept: dict[str, Any] = {"numbers": {}, "settings": {}, "tables": {}, "files": []}

    @contextlib.contextmanager
    def start_run(run_name: str) -> Iterator[Any]:
        kept["title"] = run_name
        yield SimpleNamespace(info=SimpleNamespace(run_id="r1"))

    mlflow = SimpleNamespace(
        set_experiment=lambda name: kept.update(project=name),
        start_run=start_run,
        log_metrics=kept["numbers"].update,
        set_tags=kept["settings"].update,
        log_table=lambda columns, name: kept["tables"].update({name: list(zip(*columns.values(), strict=True))}),
        log_artifact=kept["files"].append,
    )

    class Artifact:
        def __init__(self, name: str, type: str) -> None:
            self.add_file = kept["files"].append

    def init(project: str, name: str, job_type: str, config: dict[str, str]) -> Any:
        kept.update(project=project, title=name)
        kept["settings"].update(config)
        summary = SimpleNamespace(update=kept["numbers"].update)
        log, finish = kept["tables"].update, lambda: kept.update(finished=True)
        return SimpleNamespace(id="r1", summary=summary, log=log, log_artifact=lambda a: None, finish=finish)

    wandb = SimpleNamespace(init=init, Artifact=Artifact, Table=lambda columns, data: [tuple(row) for row in data])
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    return kept


@pytest.mark.parametrize("to", ["wandb", "mlflow"])
def test_a_tracker_gets_numbers_settings_findings_and_the_document(
    to: str, audited: Path, kept: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(audited), "--to", to, "--project", "mine"]) == 0
    assert capsys.readouterr().out == f"{to}: run r1 of mine\n"
    assert (kept["project"], kept["title"]) == ("mine", "audit of coordexp-b46e74f at b46e74f")
    assert kept["numbers"]["audit/violated"] == kept["numbers"]["audit/P0/violated"] == 1
    assert kept["numbers"]["audit/held"] == 2 and all(type(n) is int for n in kept["numbers"].values())
    assert kept["settings"]["target.commit"] == "b46e74f" and kept["settings"]["version.torch"] == "2.8.0"
    assert kept["files"] == [str(audited / "audit.json")]
    ((first, *_),) = kept["tables"].values()
    assert first[:2] == ("packing.each_once", "P0") and kept.get("finished", to == "mlflow")


def test_a_tracker_that_is_not_there_or_refuses_is_told_in_one_line(
    audited: Path, kept: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(name: str) -> None:
        raise RuntimeError("no server\nhere")

    sys.modules["mlflow"].set_experiment = refuse  # type: ignore[attr-defined]
    assert main(["export", str(audited), "--to", "mlflow"]) == 2
    assert "mlflow: RuntimeError: no server here. Remedy: " in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert main(["export", str(audited), "--to", "wandb"]) == 2
    assert "pip install wandb" in capsys.readouterr().err
