"""The folder that a run left behind, and two of them, as claims read them: the core of `coordexp-audit manifest`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from coordexp_audit_lib.boundaries.provenance.artifact import arguments, reading, sources
from coordexp_audit_lib.boundaries.provenance.predicates import documents as d
from coordexp_audit_lib.boundaries.provenance.predicates.arguments import RANKS
from coordexp_audit_lib.boundaries.provenance.predicates.drift import Difference, counts, differences, in_order
from coordexp_audit_lib.boundaries.provenance.predicates.redaction import Known, named, redacted
from coordexp_audit_lib.core.claim import claims_on
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.evidence import Evidence, digest
from coordexp_audit_lib.core.finding import Finding, tidy
from coordexp_audit_lib.core.judge import Artifact, judge_artifact
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.problem import Undecided
from coordexp_audit_lib.kit.nested import get

BOUNDARY = "provenance"
# What any trainer's run must be; the other claims are about the manifest that the pipeline promises.
ANYBODYS = ("provenance.no_secrets", "provenance.weights_only")


class RunFolder:
    """A run's folder, read once.

    documents: the JSON documents that could be read, by name. defects: by document, what is wrong with it as JSON.
    missing: those that are not there. files: those of the manifest's files that are. contract: the pipeline's.
    is_own: whether it is judged as a run of that pipeline; a folder without any of its files, and with another
    trainer's arguments, is not. arguments, unread: those by name, and why one could not be read.

    Raises:
        UsageError: there is no such folder.
    """

    def __init__(self, folder: Path | str) -> None:
        self.root = reading.run_root(Path(folder))
        self.name = Path(folder).name
        read = {name: reading.document(self.root, name) for name in d.DOCUMENTS}
        self.missing = [name for name, found in read.items() if found.missing]
        self.defects = {name: found.defects for name, found in read.items() if found.defects}
        self.documents: dict[str, Any] = {name: f.value for name, f in read.items() if f.value is not None}
        names = (*d.DOCUMENTS, d.CONFIG_SOURCE, d.BASE_SOURCE)
        self.files = [n for n in names if n not in self.missing and (self.root / n).is_file()]
        self.contract = pipeline().contract()
        found = {} if self.documents or self.defects or self.files else arguments.read(self.root)
        self.is_own = not found
        self.arguments: dict[str, Any] = {name: one.value for name, one in found.items() if one.value is not None}
        self.unread = {name: one.defects[0] for name, one in found.items() if one.value is None and one.defects}

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
    def resolved(self) -> Any:
        """The resolved config.

        Raises:
            Undecided: its document is not there or can't be read.
        """
        return self.get(d.RESOLVED, "resolved")

    @property
    def merged(self) -> dict[str, Any]:
        """What the kept YAML sources resolve to.

        Raises:
            Undecided: a source was not kept. Unreadable: one is no sound YAML mapping.
        """
        if isinstance(self._merged, Exception):
            raise self._merged
        return self._merged

    @cached_property
    def _merged(self) -> dict[str, Any] | Exception:
        try:
            return sources.merged(self.root)
        except sources.Incomplete as error:
            return Undecided(f"the sources cannot be resolved again: {error}")
        except reading.Unreadable as error:
            return error

    def setting(self, key: str) -> Any:
        """A value of the resolved config by dotted path; None where it is not there, whatever the reason. Another
        trainer's arguments have the setting under its last name."""
        if not self.is_own:
            last = key.rpartition(".")[2]
            return next((tree[last] for tree in self.arguments.values() if last in tree), None)
        return get(self.documents.get(d.RESOLVED), f"resolved.{key}")

    @cached_property
    def known(self) -> Known:
        """What stands under secret names in the documents and the sources, longest first."""
        sourced = self._merged if isinstance(self._merged, dict) else {}
        return Known([*named(self.documents), *named(self.arguments), *named(sourced)])

    def conceal(self, value: Any) -> Any:
        """A text or value without the run's secrets."""
        return redacted(value, self.known)

    @cached_property
    def evidence(self) -> list[Evidence]:
        """The documents, by a digest of what they hold but for secrets."""
        read = {**self.documents, **self.arguments}
        shown = {name: tidy(self.conceal(read[name])) for name in sorted(read)}
        return [
            *(Evidence("artifact", path=name, digest=digest(value)) for name, value in shown.items()),
            *([] if self.is_own else [Evidence("fact", symbol="read as", value=self.read_as)]),
        ]

    @property
    def read_as(self) -> str:
        """What another trainer's folder holds, in words."""
        told = {name: arguments.WRITERS.get(name, "arguments") for name in self.arguments}
        read = [f"{who} ({name}, {len(self.arguments[name])} values)" for name, who in told.items()]
        return ", ".join([*read, *(f"{name} could not be read: {why}" for name, why in self.unread.items())])


class RunPair:
    """Two runs to be compared.

    Raises:
        UsageError: a folder is none, or holds no document that can be read.
    """

    def __init__(self, before: Path | str, after: Path | str) -> None:
        self.before, self.after = RunFolder(before), RunFolder(after)
        for run, given in ((self.before, before), (self.after, after)):
            if not run.documents and not run.arguments:
                remedy = "run coordexp-audit manifest on the folder that the run wrote to"
                raise UsageError("none of its documents can be read", where=str(given), remedy=remedy)

    def conceal(self, value: Any) -> Any:
        """A text or value without the secrets of either run."""
        return redacted(value, self._known)

    @cached_property
    def _known(self) -> Known:
        return Known([*self.before.known, *self.after.known])

    @cached_property
    def documents(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Those of the run before and after, without secrets."""
        return self.conceal(self.before.documents), self.conceal(self.after.documents)

    @cached_property
    def arguments(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The arguments that both runs left in the same form, without secrets."""
        both = sorted(self.before.arguments.keys() & self.after.arguments.keys())
        before, after = ({name: run.arguments[name] for name in both} for run in (self.before, self.after))
        return self.conceal(before), self.conceal(after)

    @property
    def one_sided(self) -> dict[str, str]:
        """What only one of the two runs left in a form that can be read, and why the other has none."""
        a, b = self.before, self.after
        names = (a.arguments.keys() ^ b.arguments.keys()) | a.unread.keys() | b.unread.keys()
        told = {**a.unread, **b.unread}
        return {name: told.get(name, "one of the runs did not leave it") for name in sorted(names)}

    @cached_property
    def differences(self) -> list[Difference]:
        """Every field in which the documents differ, what can change most first."""
        own = differences(*self.documents, self.before.contract["provenance.ranks"])
        return in_order([*own, *differences(*self.arguments, RANKS)])

    def evidence(self) -> list[Evidence]:
        return [Evidence("fact", symbol="differences by rank", value=counts(self.differences))]


def audit_run(run_dir: Path | str) -> list[Finding]:
    """Judge a run's folder by every claim that a folder can decide; the findings hold no secret and no absolute path.

    Raises:
        UsageError: there is no such folder.
    """
    run = RunFolder(run_dir)
    made = Artifact(run, run.name, evidence=lambda: run.evidence, conceal=run.conceal)
    return _judged(made, None if run.is_own else ANYBODYS)


def audit_pair(pair: RunPair) -> list[Finding]:
    """Judge what differs between two runs: violated where a difference can change the objective or the numerics."""
    name = f"{pair.before.name} and {pair.after.name}"
    return _judged(Artifact(pair, name, evidence=pair.evidence, conceal=pair.conceal))


def _judged(artifact: Artifact, only: tuple[str, ...] | None = None) -> list[Finding]:
    from coordexp_audit_lib.boundaries.provenance import claims

    for found in pkgutil.iter_modules(claims.__path__):  # who audits a folder from a program has not loaded them
        importlib.import_module(f"{claims.__name__}.{found.name}")
    asked = claims_on(type(artifact.subject), BOUNDARY)
    return [judge_artifact(artifact, claim) for claim in asked if only is None or claim.id in only]
