"""An audit's summary where a lab keeps its runs: Weights & Biases and MLflow, each if it is installed.

What is written: how many claims have each verdict, in all and by severity, as numbers; who was audited, as settings;
the findings as a table; `audit.json` as an artifact. Where to, and whether at once or offline, is set as those tools
have it (`WANDB_MODE=offline`, `MLFLOW_TRACKING_URI`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from coordexp_audit_lib.core.errors import AuditError, UsageError
from coordexp_audit_lib.core.finding import STATUSES
from coordexp_audit_lib.report.document import AUDIT, read_audit
from coordexp_audit_lib.report.frame import findings_frame
from coordexp_audit_lib.report.tables import presentable

PROJECT = "coordexp-audit"
SETTINGS = ("kind", "name", "commit", "date", "era", "dirty", "interpreter")
COLUMNS = ("invariant", "severity", "authority", "status", "counts", "checked", "where", "message", "claim")


def export(path: Path, to: str, project: str = PROJECT) -> str:
    """Write an audit into a tracker; the name that it has there.

    Args:
        path: an audit.json, or the folder of one. to: `wandb` or `mlflow`. project: of W&B, or an experiment of MLflow.

    Raises:
        UsageError: there is no such audit, or the tracker is not installed. AuditError: the tracker refuses.
    """
    if to not in TRACKERS:
        raise UsageError(f"no tracker is called {to!r}", where="--to", remedy=f"use one of {', '.join(TRACKERS)}")
    made = read_audit(path)
    file = path / AUDIT if path.is_dir() else path
    try:
        tracker = importlib.import_module(to)
    except ImportError as error:
        remedy = f"pip install {to}, or give --to another one"
        raise UsageError(f"{to} is not installed here: {error}", where="--to", remedy=remedy) from error
    try:
        return TRACKERS[to](tracker, made, file, project)
    except Exception as error:  # of a program that is not ours, and of its server
        what = f"{type(error).__name__}: {error}"
        raise AuditError(what, where=to, remedy=f"set {to} up as its manual says, then export again") from error


def numbers(made: Mapping[str, Any]) -> dict[str, int]:
    """The summary, flat: `audit/violated`, `audit/P0/violated` and so on."""
    summary = made["summary"]
    told = {f"audit/{name}": count for name, count in summary.items() if isinstance(count, int)}
    return told | {f"audit/{s}/{st}": n[st] for s, n in summary["by_severity"].items() for st in STATUSES}


def settings(made: Mapping[str, Any]) -> dict[str, str]:
    """Who was audited, by what: what a run of an audit depends on."""
    target = made["target"]
    told = {f"target.{key}": str(target[key]) for key in SETTINGS if target.get(key) not in (None, "")}
    told |= {f"version.{name}": version for name, version in target.get("versions", {}).items()}
    return told | {"configs": ", ".join(made["configs"]) or "-", "coordexp-audit": made["tool"]["version"]}


def title(made: Mapping[str, Any]) -> str:
    """What a run is called."""
    commit = made["target"].get("commit", "")[:12]
    return f"audit of {made['target']['name']}{f' at {commit}' if commit else ''}"


def _wandb(wandb: Any, made: Mapping[str, Any], file: Path, project: str) -> str:
    run = wandb.init(project=project, name=title(made), job_type="audit", config=settings(made))
    try:
        run.summary.update(numbers(made))
        shown = presentable(findings_frame(made["findings"], COLUMNS)).astype(object)
        cells = shown.where(shown.notna(), None).to_numpy().tolist()
        run.log({"audit/findings": wandb.Table(columns=list(shown.columns), data=cells)})
        artifact = wandb.Artifact("audit", type="audit")
        artifact.add_file(str(file))
        run.log_artifact(artifact)
        return str(run.id)
    finally:
        run.finish()


def _mlflow(mlflow: Any, made: Mapping[str, Any], file: Path, project: str) -> str:
    mlflow.set_experiment(project)
    with mlflow.start_run(run_name=title(made)) as run:
        mlflow.log_metrics(numbers(made))
        mlflow.set_tags(settings(made))
        shown = presentable(findings_frame(made["findings"], COLUMNS)).astype(str)
        mlflow.log_table({name: shown[name].tolist() for name in shown.columns}, "findings.json")
        mlflow.log_artifact(str(file))
        return str(run.info.run_id)


TRACKERS: dict[str, Callable[[Any, Mapping[str, Any], Path, str], str]] = {"wandb": _wandb, "mlflow": _mlflow}
