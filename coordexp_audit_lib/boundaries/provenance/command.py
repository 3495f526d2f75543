"""Audit the folder that a run left behind, and compare two: the core of `coordexp-audit manifest`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.provenance import invariants as _claims
from coordexp_audit_lib.boundaries.provenance import predicates, reading, sources
from coordexp_audit_lib.boundaries.provenance.checkpoints import weights_only
from coordexp_audit_lib.boundaries.provenance.drift import Difference, counts, differences
from coordexp_audit_lib.boundaries.provenance.invariants import ENVIRONMENT, METADATA, RESOLVED
from coordexp_audit_lib.boundaries.provenance.predicates import Flaw
from coordexp_audit_lib.boundaries.provenance.redaction import named, redact, redacted
from coordexp_audit_lib.boundaries.provenance.server import is_server_mode
from coordexp_audit_lib.boundaries.provenance.writer import BASE_SOURCE, CONFIG_SOURCE
from coordexp_audit_lib.core.claim import Invariant
from coordexp_audit_lib.core.claim import invariants as declared
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.evidence import Evidence, Where, digest
from coordexp_audit_lib.core.finding import MAX_EXAMPLES, Finding, Status, Violation, tidy

REMEDY_RUN = "run coordexp-audit manifest on the folder that the run wrote to"


class Undecided(Exception):
    """The folder can't decide a claim; the message says why."""


class RunFolder:
    """A run's folder, read once. defects: by document, what is wrong with it as JSON."""

    def __init__(self, folder: Path) -> None:
        self.root = reading.run_root(folder)
        read = {name: reading.document(self.root, name) for name in predicates.DOCUMENTS}
        self.missing = [name for name, d in read.items() if d.missing]
        self.defects = {name: d.defects for name, d in read.items() if d.defects}
        self.documents: dict[str, Any] = {name: d.value for name, d in read.items() if d.value is not None}
        names = (*predicates.DOCUMENTS, CONFIG_SOURCE, BASE_SOURCE)
        self.files = [n for n in names if n not in self.missing and (self.root / n).is_file()]

    def get(self, name: str, *keys: str) -> Any:
        """A value of a document; None where a key is not there.

        Raises:
            Undecided: the document is not there or can't be read.
        """
        if name not in self.documents:
            raise Undecided(f"{name} is not there" if name in self.missing else f"{name}: {self.defects[name][0]}")
        value = self.documents[name]
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    @property
    def known(self) -> tuple[str, ...]:
        """What stands under secret names in the documents, longest first."""
        return tuple(sorted(set(named(self.documents)), key=lambda v: (-len(v), v)))

    @property
    def resolved(self) -> Any:
        return self.get(RESOLVED, "resolved")


def audit_run(run_dir: Path | str) -> list[Finding]:
    """Judge a run's folder by every claim that a folder can decide; the findings hold no secret and no absolute path.

    Raises:
        UsageError: there is no such folder.
    """
    run = RunFolder(Path(run_dir))
    return [_finding(claim, run, _JUDGES[claim.id]) for claim in declared(_claims.BOUNDARY) if claim.id in _JUDGES]


def compare_runs(before: Path | str, after: Path | str) -> list[Difference]:
    """Every field in which the documents of two runs differ, what can change most first; values hold no secret.

    Raises:
        UsageError: a folder is none, or holds no document that can be read.
    """
    runs = [RunFolder(Path(before)), RunFolder(Path(after))]
    for run, given in zip(runs, (before, after), strict=True):
        if not run.documents:
            raise UsageError("none of its documents can be read", where=str(given), remedy=REMEDY_RUN)
    known = sorted({v for run in runs for v in run.known}, key=len, reverse=True)
    return differences(*(redacted(run.documents, known) for run in runs))


def drift_finding(before: Path | str, after: Path | str) -> Finding:
    """The same as a finding: violated where a difference can change the objective or the numerics."""
    found = compare_runs(before, after)
    claim = next(c for c in declared(_claims.BOUNDARY) if c.id == "provenance.rerun_drift")
    flaws = [
        Flaw(f"the runs differ in what can change the {d.rank}", d.field, d.before, d.after)
        for d in found
        if d.rank in ("objective", "numerics")
    ]

    facts = [Evidence("fact", symbol="differences by rank", value=counts(found))]
    return _made(claim, flaws, len(predicates.DOCUMENTS), facts)


Judge = Callable[[RunFolder], Iterator[Flaw]]


def _finding(claim: Invariant, run: RunFolder, judge: Judge) -> Finding:
    started, note = time.perf_counter(), ""
    flaws: list[Flaw] = []
    status: Status | None = None
    try:
        flaws = list(judge(run))
    except Undecided as error:
        note, status = str(error), "unbound"
    except Exception as error:  # what a hostile folder provokes is this claim's own error, not the others'
        note, status = f"the check itself failed: {type(error).__name__}: {error}", "error"
    facts = [
        Evidence("artifact", path=name, digest=digest(tidy(redacted(run.documents[name], run.known))))
        for name in sorted(run.documents)
    ]
    made = _made(claim, flaws, 1, facts, run.known)
    if status is not None and not flaws:
        note = tidy(" ".join(str(redacted(note, run.known)).split()))
        made = replace(made, status=status, checked=0, note=note)
    return replace(made, seconds=round(time.perf_counter() - started, 3))


def _made(
    claim: Invariant, flaws: list[Flaw], checked: int, facts: list[Evidence], known: tuple[str, ...] = ()
) -> Finding:
    found = [
        Violation(
            f.message,
            tidy(redact(f.subject, known)),
            tidy(redacted(f.expected, known, f.subject)),
            tidy(redacted(f.actual, known, f.subject)),
            None,
            _where(f),
        )
        for f in flaws
    ]
    return Finding(
        claim.id,
        claim.boundary,
        claim.severity,
        "A",
        "violated" if found else "held",
        checked,
        None,
        claim.claim,
        sorted(found, key=Violation.size)[:MAX_EXAMPLES],
        len(found),
        facts,
        claim.remedy,
        "; ".join(map(str, claim.spec)),
        "",
        0.0,
    )


def _where(flaw: Flaw) -> Where | None:
    """The file and line that a flaw's subject names, as `file:line: key`."""
    name, _, rest = flaw.subject.partition(":")
    line = rest.partition(":")[0]
    return Where(name, int(line)) if line.isdecimal() and "." in name else None


def _files(run: RunFolder) -> Iterator[Flaw]:
    for name, defects in sorted(run.defects.items()):
        for defect in defects:
            yield Flaw(f"{name} is no sound document: {defect}", name)
    with_base = bool((run.documents.get(RESOLVED) or {}).get("base_config_path"))
    yield from predicates.files_present(run.files, run.documents, with_base=with_base)
    yield from _late(run)


def _late(run: RunFolder) -> Iterator[Flaw]:
    """A manifest that says to be younger than a checkpoint was written late, unless the run was resumed."""
    created = (run.documents.get(METADATA) or {}).get("created_at")
    resolved = (run.documents.get(RESOLVED) or {}).get("resolved")
    training = resolved.get("training") if isinstance(resolved, Mapping) else None
    if not isinstance(created, str) or (isinstance(training, Mapping) and training.get("resume_from_checkpoint")):
        return
    try:
        stamp = datetime.fromisoformat(created)
        made = stamp.timestamp() if stamp.tzinfo else None
    except (ValueError, OverflowError):
        yield Flaw("the time at which the manifest was made is no time", f"{METADATA}: created_at", "ISO 8601", created)
        return
    for name in reading.checkpoints(run.root)[:1]:
        if made is not None and made > (run.root / name).stat().st_mtime + 1:
            yield Flaw("the manifest is younger than the first checkpoint", METADATA, "before the first step", name)


def _versions(run: RunFolder) -> Iterator[Flaw]:
    return predicates.upstream_versions(run.get(METADATA, "upstream"))


def _swift(run: RunFolder) -> Iterator[Flaw]:
    upstream = run.get(METADATA, "upstream")
    swift = upstream.get("swift") if isinstance(upstream, Mapping) else None
    if isinstance(swift, Mapping) and swift.get("error") and "ms_swift" not in upstream:
        return iter(())  # what is not installed has no source
    return predicates.swift_source(upstream)


def _server(run: RunFolder) -> Iterator[Flaw]:
    return predicates.server_flags(run.get(METADATA, "launcher")) if is_server_mode(run.resolved) else iter(())


def _config(run: RunFolder) -> Iterator[Flaw]:
    resolved = run.resolved
    try:
        merged = sources.merged(run.root)
    except sources.Incomplete as error:
        raise Undecided(f"the sources cannot be resolved again: {error}") from error
    except reading.Unreadable as error:
        yield Flaw(f"a config source cannot be read: {error}", CONFIG_SOURCE)
        return
    yield from predicates.config_is_its_sources(merged, resolved)


def _secrets(run: RunFolder) -> Iterator[Flaw]:
    environment = run.documents.get(ENVIRONMENT)
    if environment is not None:
        yield from predicates.environment_is_chosen(environment.get("env"))
    for file, sighting in reading.secrets(run.root):
        key = f": {sighting.key}" if sighting.key else ""
        yield Flaw(f"a secret is written: {sighting.kind}", f"{file}:{sighting.line}{key}", "redacted", "written")


def _checkpoints(run: RunFolder) -> Iterator[Flaw]:
    names = reading.checkpoints(run.root)
    if not names:
        raise Undecided("the folder holds no checkpoint-* folder")
    resolved = run.documents.get(RESOLVED, {}).get("resolved")
    training = resolved.get("training") if isinstance(resolved, Mapping) else None
    only = bool(training.get("save_only_model")) if isinstance(training, Mapping) else False
    for name in names:
        for flaw in weights_only(reading.checkpoint(run.root, name), save_only_model=only):
            subject = f"{name}/{flaw.subject}" if flaw.subject else name
            yield Flaw(flaw.message, subject, flaw.expected, flaw.actual)


_JUDGES: dict[str, Judge] = {
    "provenance.files_present": _files,
    "provenance.upstream_versions": _versions,
    "provenance.swift_source": _swift,
    "provenance.server_flags": _server,
    "provenance.config_is_the_config": _config,
    "provenance.no_secrets": _secrets,
    "provenance.weights_only": _checkpoints,
}
