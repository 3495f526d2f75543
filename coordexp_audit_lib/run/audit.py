"""`coordexp-audit run`: every notebook for every config, and the audit's documents."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.policies import applicable
from coordexp_audit_lib.core.errors import AuditError, UsageError
from coordexp_audit_lib.core.evidence import digest
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.folder import OwnFolder, write_atomically
from coordexp_audit_lib.core.judge import audit
from coordexp_audit_lib.core.reading import content
from coordexp_audit_lib.core.target import LIVE, Target, TargetInfo
from coordexp_audit_lib.report.sources import fingerprint, folder
from coordexp_audit_lib.run.notebooks import Failed, Job, lacking_outputs, run_jobs
from coordexp_audit_lib.run.parallel import Cluster
from coordexp_audit_lib.run.record import take
from coordexp_audit_lib.targets.recording import SUFFIX, write_recording

STATE = "run.json"
KIND = "run"
MOST = 256 << 20  # bytes of a notebook's findings that are read


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
    cluster: Cluster | None = None,
    progress: Callable[[str], None] | None = None,
) -> Ran:
    """Execute the notebooks into `out/notebooks` and collect what they found.

    A checkout is asked once, into `out/recording.json.xz`; its notebooks then read that recording, so that the page
    and the document say the same. Interrupted, the run goes on where it stopped if it is started again with the same
    target, configs and seed.

    Args:
        target: what is audited. word: how the user named it. configs: as the user names them. out: the folder.
        replace: whether an earlier run of other things in that folder may be removed.
        workers: processes that ask a checkout. cluster: who asks it in their place.
    """
    configs = target.all_named(configs)
    live: list[Finding] | None = None
    with claimed(out, target.info(), configs, seed, replace) as own:
        if target.info().kind in LIVE:
            partial = out / f"partial{SUFFIX}"
            how: dict[str, Any] = {"partial": partial, "jobs": workers, "cluster": cluster, "progress": progress}
            taken = take(target, configs, seed=seed, names=names, **how)
            word = str((out / f"recording{SUFFIX}").resolve())
            write_recording(taken.recording, Path(word))
            partial.unlink(missing_ok=True)
            live = taken.findings
        jobs = plan(word, configs, out, seed, names)
        failed = run_jobs(jobs, own, progress=progress)
        raised = [f.job.output for f in failed]
        failed += [Failed(j, why) for j in jobs if j.output not in raised and (why := lacking_outputs(j.output))]
        findings = collect(target, out, configs, seed, names) if live is None else live
        failed += [] if live is None else unlike(live, jobs)
    return Ran(target.info(), findings, failed)


def plan(word: str, configs: Sequence[str], out: Path, seed: int, names: list[str] | None) -> list[Job]:
    """One job for each boundary and config."""
    source, kept = folder("notebooks"), str((out / "findings").resolve())
    jobs = []
    for b in boundaries.load(names):
        for config in configs or ("",):
            parameters = {"target": word, "config": config, "out": kept, "seed": seed, "fail_on": "never"}
            page = boundaries.page(b, config)
            output, findings = out / "notebooks" / f"{page}.ipynb", out / "findings" / f"{page}.json"
            jobs.append(Job(source / b.notebook, output, parameters, findings))
    return jobs


@contextlib.contextmanager
def claimed(
    out: Path, info: TargetInfo, configs: Sequence[str], seed: int, replace: bool = False
) -> Iterator[OwnFolder]:
    """The folder as this run's own, so that it can go on where it stopped; nobody else of ours writes to it meanwhile.

    Raises:
        UsageError: the folder can't be used, another run is writing to it, or it holds another run (and `replace` is
            not set), or anything that is no run of ours.
    """
    if os.fsencode(out).decode("utf-8", "replace") != str(out):
        raise UsageError("its name is no UTF-8", where=str(out), remedy="give a folder whose name is")
    if replace and out.is_symlink():
        raise UsageError("it is a link", where=str(out), remedy="give the folder that it leads to")
    state = {"tool": fingerprint(), "target": digest(msgspec.to_builtins(info)), "configs": list(configs), "seed": seed}
    own = OwnFolder.claim(out, KIND)
    own.lock()
    try:
        if (out / STATE).exists() and _read_state(out / STATE) != state:
            if not replace:
                remedy = "give a new folder, or say --replace to remove what that run wrote"
                raise UsageError(
                    "it holds a run of another target, config, seed or version", where=str(out), remedy=remedy
                )
            own.clear()
            own.unlock()
            own = OwnFolder.claim(out, KIND)
            own.lock()
        if not (out / STATE).exists():
            write_atomically(out / STATE, json.dumps(state, sort_keys=True) + "\n")
            write_atomically(out / ".gitignore", "*\n")  # inside a tree under audit it makes nothing dirty
        yield own
    finally:
        own.sweep()
        own.unlock()


def _read_state(path: Path) -> object:
    try:
        return json.loads(content(path, 1 << 20))
    except (OSError, ValueError):
        return None


def collect(
    target: Target, out: Path, configs: Sequence[str], seed: int, names: list[str] | None = None
) -> list[Finding]:
    """What each notebook found; where one left no findings, they are made here. A claim that does not depend on the
    config must be judged alike for each.

    Raises:
        AuditError: two notebooks contradict each other, or no boundary is named.
    """
    kept: dict[tuple[str, str | None], Finding] = {}
    for b in boundaries.load(names):
        for config in configs or ("",):
            made = found_in(out / "findings" / f"{boundaries.page(b, config)}.json")
            if made is None:
                made = audit(target, applicable(target.pipeline(), b.name), [config], seed)
            for finding in made:
                key = (finding.invariant, finding.config)
                if key in kept and not same(kept[key], finding):
                    raise AuditError("two runs of one check disagree", where=finding.invariant, remedy="report a bug")
                kept.setdefault(key, finding)
    if not kept:
        raise AuditError("nothing was judged", where=str(out), remedy="name at least one boundary")
    return list(kept.values())


def found_in(path: Path) -> list[Finding] | None:
    """What a notebook found; None where it left nothing that can be read."""
    try:
        return msgspec.json.decode(content(path, MOST), type=list[Finding])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def unlike(live: list[Finding], jobs: Sequence[Job]) -> list[Failed]:
    """The pages whose findings, replayed from the recording, are not those that were found live."""
    by_key = {(f.invariant, f.config): f for f in live}
    failed = []
    for job in jobs:
        bad = [f for f in found_in(job.findings) or () if not same(f, by_key.get((f.invariant, f.config), f))]
        if bad:
            why = f"its recording does not replay to what was found live: {', '.join(f.invariant for f in bad)}"
            failed.append(Failed(job, why))
    return failed


def same(a: Finding, b: Finding) -> bool:
    """Equal but for the time they took."""
    return msgspec.structs.replace(a, seconds=0) == msgspec.structs.replace(b, seconds=0)
