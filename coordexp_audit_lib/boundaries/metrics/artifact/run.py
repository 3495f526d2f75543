"""`coordexp-audit metrics PATH`: judge the logs that a run left behind."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from coordexp_audit_lib.boundaries.metrics.artifact.events import is_event_file, read_events
from coordexp_audit_lib.boundaries.metrics.artifact.jsonl import holds_state, looks_like_log, read_jsonl, read_state
from coordexp_audit_lib.boundaries.metrics.predicates.log import Log
from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import Vocabulary, vocabulary
from coordexp_audit_lib.boundaries.metrics.predicates.writers import told
from coordexp_audit_lib.core.claim import Ledger, claims_on
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.evidence import Evidence
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import Artifact, judge_all, judge_artifact
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.problem import Problem

STATE, LOGGING = "trainer_state.json", "logging.jsonl"
MAX_FILES = 200
READ_AS = "read as"
# What any trainer's log must be. The other claims are what the pipeline promises of its own.
ANYBODYS = ("metrics.finite", "metrics.step_once")


class Unread(msgspec.Struct, frozen=True):
    """A log of a folder that can't be read: that it is not costs the others nothing."""

    error: UsageError


def unread(log: Unread, ledger: Ledger) -> list[Problem]:
    """Such a log was not judged.

    Raises:
        UsageError: why it can't be read.
    """
    raise log.error


def audit_log(path: Path) -> list[Finding]:
    """Judge one file, or every log below a folder; each finding's `config` names its file.

    A log does not say who wrote it. Where it has keys that only the default pipeline's trainers write, names are read
    as that one's contract has them and its policy is asked too; of another log, only what holds of any.

    Raises:
        UsageError: there is no log, or the one file that was named can't be read; one line with the place and a remedy.
    """
    findings, words = [], vocabulary()
    for file in sources(path):
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        shown = Evidence(kind="artifact", path=name, digest=_file_digest(file))
        try:
            log = msgspec.structs.replace(read_log(file, words), source=name)
        except UsageError as error:
            if not path.is_dir():
                raise
            findings += judge_all(Artifact(Unread(error), name, name, evidence=[shown].copy), "metrics")
            continue
        form = f"{pipeline().title}'s log" if log.is_own else log.form
        taken = Evidence(kind="fact", symbol=READ_AS, value=f"{form}: {told(log)}")
        asked = [c for c in claims_on(Log, "metrics") if log.is_own or c.id in ANYBODYS]
        made = Artifact(log, name, name, evidence=[shown, taken].copy)
        findings += [judge_artifact(made, claim) for claim in asked]
    return findings


def sources(path: Path) -> list[Path]:
    """The logs at `path`: itself, or below it what is one by its name or its content, sorted by name."""
    if not path.exists():
        raise UsageError("there is no such file or folder", where=str(path), remedy="give a log or a run's folder")
    if not path.is_dir():
        if not path.is_file():
            raise UsageError("is no regular file", where=str(path), remedy="give a log or a run's folder")
        return [path]
    found = []
    for file in sorted(path.rglob("*")):
        if file.is_file() and not file.is_symlink() and _is_log(file):
            found.append(file)
            if len(found) > MAX_FILES:
                raise UsageError(f"holds more than {MAX_FILES} logs", where=str(path), remedy="give one run's folder")
    if not found:
        remedy = "give a folder with a log in JSON lines, a trainer state or TensorBoard event files"
        raise UsageError("holds no log", where=str(path), remedy=remedy)
    return found


def _is_log(file: Path) -> bool:
    if file.name in (STATE, LOGGING) or "tfevents" in file.name:
        return True
    try:
        return file.suffix in (".jsonl", ".json") and looks_like_log(file)
    except UsageError:  # unreadable, and nothing says that it is a log
        return False


def read_log(file: Path, words: Vocabulary) -> Log:
    """Read a file by its content: an event file, one JSON value that holds rows, or JSON lines."""
    if is_event_file(file):
        return read_events(file, words)
    return (read_state if file.name == STATE or holds_state(file) else read_jsonl)(file, words)


def _file_digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]
