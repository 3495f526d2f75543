"""`coordexp-audit run`: every notebook for every config, and the audit's documents."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.errors import AuditError, UsageError
from coordexp_audit_lib.core.evidence import digest
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.target import LIVE, Target, TargetInfo
from coordexp_audit_lib.report.sources import fingerprint, folder
from coordexp_audit_lib.run.notebooks import Failed, Job, require_outputs, run_jobs
from coordexp_audit_lib.run.record import take
from coordexp_audit_lib.targets.recording import SUFFIX, write_recording

STATE = "run.json"


class Ran(msgspec.Struct, frozen=True):
    """What a run found, and the notebooks that raised."""

    info: TargetInfo
    findings: list[Finding]
    failed: list[Failed]


def run(
    target: Target,
    word: str,
    configs: Sequence[str],
    out: Path,
    *,
    seed: int = 0,
    names: list[str] | None = None,
    replace: bool = False,
    workers: int = 1,
    progress: Callable[[str], None] | None = None,
) -> Ran:
    """Execute the notebooks into `out/notebooks` and collect what they found.

    A checkout is asked once, into `out/recording.json.xz`; its notebooks then read that recording, so that the page
    and the document say the same. Interrupted, the run goes on where it stopped if it is started again with the same
    target, configs and seed.

    Args:
        target: what is audited. word: how the user named it. configs: as the user names them. out: the folder.
        replace: whether an earlier run of other things in that folder may be removed.
        workers: processes that ask a checkout.
    """
    configs = target.all_named(configs)
    claim_folder(out, target.info(), configs, seed, replace)
    live: list[Finding] | None = None
    if target.info().kind in LIVE:
        partial = out / f"partial{SUFFIX}"
        taken = take(target, configs, seed=seed, names=names, partial=partial, jobs=workers, progress=progress)
        word = str((out / f"recording{SUFFIX}").resolve())
        write_recording(taken.recording, Path(word))
        live = taken.findings
    jobs = plan(word, configs, out, seed, names)
    failed = run_jobs(jobs, progress=progress)
    for job in jobs:
        if job.output not in [f.job.output for f in failed]:
            require_outputs(job.output)
    findings = collect(out, configs, names)
    if live is not None:
        findings = reconciled(live, findings)
    return Ran(target.info(), findings, failed)


def plan(word: str, configs: Sequence[str], out: Path, seed: int, names: list[str] | None) -> list[Job]:
    """One job for each boundary and config."""
    source, kept = folder("notebooks"), str((out / "findings").resolve())
    jobs = []
    for b in boundaries.load(names):
        for config in configs:
            parameters = {"target": word, "config": config, "out": kept, "seed": seed, "fail_on": "never"}
            output = out / "notebooks" / f"{boundaries.page(b, config)}.ipynb"
            jobs.append(Job(source / b.notebook, output, parameters))
    return jobs


def claim_folder(out: Path, info: TargetInfo, configs: Sequence[str], seed: int, replace: bool = False) -> None:
    """Make the folder this run's own, so that it can go on where it stopped.

    Raises:
        UsageError: the folder holds another run (and `replace` is not set), or anything that is no run of ours.
    """
    state = {"tool": fingerprint(), "target": digest(msgspec.to_builtins(info)), "configs": list(configs), "seed": seed}
    path = out / STATE
    if path.is_file():
        if _read_state(path) == state:
            return
        if not replace:
            remedy = "give a new folder, or say --replace"
            raise UsageError("it holds a run of another target, config, seed or version", where=str(out), remedy=remedy)
        shutil.rmtree(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError("it is not empty and holds no run of ours", where=str(out), remedy="give a new folder")
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(state, sort_keys=True) + "\n", encoding="utf-8")


def _read_state(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None


def collect(out: Path, configs: Sequence[str], names: list[str] | None) -> list[Finding]:
    """Read what each notebook found. A claim that does not depend on the config must be judged alike for each.

    Raises:
        AuditError: a notebook left no findings, or two notebooks contradict each other.
    """
    kept: dict[tuple[str, str | None], Finding] = {}
    for b in boundaries.load(names):
        for config in configs:
            path = out / "findings" / f"{boundaries.page(b, config)}.json"
            if not path.is_file():
                raise AuditError("the notebook left no findings", where=b.notebook, remedy="read its last cell's error")
            for finding in msgspec.json.decode(path.read_bytes(), type=list[Finding]):
                key = (finding.invariant, finding.config)
                if key in kept and not same(kept[key], finding):
                    raise AuditError("two runs of one check disagree", where=finding.invariant, remedy="report a bug")
                kept.setdefault(key, finding)
    if not kept:
        raise AuditError("nothing was judged", where=str(out), remedy="name at least one boundary")
    return list(kept.values())


def reconciled(live: list[Finding], replayed: list[Finding]) -> list[Finding]:
    """The live findings, after a check that the recording replays to the same ones."""
    by_key = {(f.invariant, f.config): f for f in replayed}
    for finding in live:
        again = by_key.get((finding.invariant, finding.config))
        if again is None or not same(finding, again):
            raise AuditError("its recording does not replay to what was found live", where=finding.invariant)
    return live


def same(a: Finding, b: Finding) -> bool:
    """Equal but for the time they took."""
    return msgspec.structs.replace(a, seconds=0) == msgspec.structs.replace(b, seconds=0)
