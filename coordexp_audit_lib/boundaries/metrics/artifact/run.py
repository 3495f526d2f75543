"""`coordexp-audit metrics PATH`: judge the logs that a run left behind."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from coordexp_audit_lib.boundaries.metrics.artifact.events import is_event_file, read_events
from coordexp_audit_lib.boundaries.metrics.artifact.jsonl import read_jsonl, read_state
from coordexp_audit_lib.boundaries.metrics.predicates.log import Log
from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import Vocabulary, vocabulary
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.evidence import Evidence
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import Artifact, judge_all

STATE, LOGGING = "trainer_state.json", "logging.jsonl"
MAX_FILES = 200


def audit_log(path: Path) -> list[Finding]:
    """Judge one file, or every log below a folder; each finding's `config` names its file.

    A log does not say who wrote it: names are read as the default pipeline's contract has them.

    Raises:
        UsageError: there is no log, or one can't be read; the message is one line with the place and a remedy.
    """
    findings, words = [], vocabulary()
    for file in sources(path):
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        log = msgspec.structs.replace(read_log(file, words), source=name)
        shown = Evidence(kind="artifact", path=name, digest=_file_digest(file))
        findings += judge_all(Artifact(log, name, name, evidence=[shown].copy), "metrics")
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


def read_log(file: Path, words: Vocabulary) -> Log:
    """Read a file by its name: event files and trainer_state.json are known by theirs, all others are JSON lines."""
    if is_event_file(file):
        return read_events(file, words)
    return (read_state if file.name == STATE else read_jsonl)(file, words)


def _file_digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]
