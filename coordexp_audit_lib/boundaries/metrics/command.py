"""`coordexp-audit metrics PATH`: judge the logs that a run left behind, with the predicates of `contract`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from coordexp_audit_lib.boundaries.metrics.contract import PREDICATES, Predicate, Problem, Undecided
from coordexp_audit_lib.boundaries.metrics.events import is_event_file, read_events
from coordexp_audit_lib.boundaries.metrics.invariants import BOUNDARY
from coordexp_audit_lib.boundaries.metrics.log import Log
from coordexp_audit_lib.boundaries.metrics.readers import read_jsonl, read_state
from coordexp_audit_lib.core.claim import Invariant, invariants
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.evidence import Evidence, Where
from coordexp_audit_lib.core.finding import MAX_EXAMPLES, Finding, Status, Violation, tidy

STATE, LOGGING = "trainer_state.json", "logging.jsonl"
MAX_FILES = 200
__all__ = ["audit_log", "judge_log", "read_log", "sources"]


def audit_log(path: Path) -> list[Finding]:
    """Judge one file, or every log below a folder; each finding's `config` names its file.

    Raises:
        UsageError: there is no log, or one can't be read; the message is one line with the place and a remedy.
    """
    findings = []
    for file in sources(path):
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        findings += judge_log(read_log(file), name, _file_digest(file))
    return findings


def sources(path: Path) -> list[Path]:
    """The logs at `path`: itself, or below it logging.jsonl, trainer_state.json and event files, sorted by name."""
    if not path.exists():
        raise UsageError("there is no such file or folder", where=str(path), remedy="give a log or a run's folder")
    if not path.is_dir():
        if not path.is_file():
            raise UsageError("is no regular file", where=str(path), remedy="give a log or a run's folder")
        return [path]
    found = []
    for file in sorted(path.rglob("*")):
        if file.is_file() and not file.is_symlink() and (file.name in (STATE, LOGGING) or is_event_file(file)):
            found.append(file)
            if len(found) > MAX_FILES:
                raise UsageError(f"holds more than {MAX_FILES} logs", where=str(path), remedy="give one run's folder")
    if not found:
        remedy = f"give a folder with {LOGGING}, {STATE} or TensorBoard event files"
        raise UsageError("holds no log", where=str(path), remedy=remedy)
    return found


def read_log(file: Path) -> Log:
    """Read a file by its name: event files and trainer_state.json are known by theirs, all others are JSON lines."""
    if is_event_file(file):
        return read_events(file)
    return read_state(file) if file.name == STATE else read_jsonl(file)


def judge_log(log: Log, name: str = "", content: str = "") -> list[Finding]:
    """One finding for each claim that a log can decide, in the catalogue's order."""
    checks = {i.id: i for i in invariants(BOUNDARY)}
    artifact = Evidence(kind="artifact", path=name or log.source, digest=content)
    return [_finding(checks[i], predicate, log, artifact) for i, predicate in PREDICATES.items()]


def _finding(check: Invariant, predicate: Predicate, log: Log, artifact: Evidence) -> Finding:
    started, checked, note = time.perf_counter(), [0], ""
    problems: list[Problem] = []
    status: Status = "held"
    try:
        problems = list(predicate(log, _counter(checked)))
        if problems:
            status = "violated"
        elif not checked[0]:
            status, note = "unbound", "the log has nothing that the claim is about"
    except Undecided as error:
        status, note = "unbound", f"the log can't tell: {error}"
    violations = [violation(p, artifact.path, log.numbered) for p in problems]
    return Finding(
        invariant=check.id,
        boundary=check.boundary,
        severity=check.severity,
        kind="A",
        status=status,
        checked=checked[0],
        config=artifact.path,
        claim=check.claim,
        violations=sorted(violations, key=Violation.size)[:MAX_EXAMPLES],
        violation_count=len(violations),
        evidence=[artifact],
        remedy=check.remedy,
        spec="; ".join(map(str, check.spec)),
        note=note,
        seconds=round(time.perf_counter() - started, 3),
    )


def _counter(total: list[int]) -> Callable[[int], None]:
    def count(cases: int) -> None:
        total[0] += cases

    return count


def violation(problem: Problem, path: str, numbered: bool) -> Violation:
    """A problem with the row at which it shows: file, its line where rows are lines, and the steps concerned."""
    steps = [r.step if r.step is not None else r.line for r in problem.rows]
    where = Where(path, problem.rows[0].line if numbered and problem.rows else 0)
    return Violation(
        tidy(problem.message),
        tidy(problem.subject),
        tidy(problem.expected),
        tidy(problem.actual),
        {"steps": steps[:50]},
        where,
    )


def _file_digest(file: Path) -> str:
    import hashlib

    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]
