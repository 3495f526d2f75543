"""An audit as data frames: findings, violations and evidence with typed columns, to join, group, filter and export."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.ranking import counts
from coordexp_audit_lib.report import document
from coordexp_audit_lib.report.tables import show_frames, table
from coordexp_audit_lib.report.text import spot

if TYPE_CHECKING:
    import pandas as pd

FINDINGS = (
    *("boundary", "invariant", "severity", "authority", "kind", "status", "counts", "reach", "checked"),
    *("violation_count", "config", "configs", "where", "message", "claim", "remedy", "note", "same_as", "seconds"),
)
VIOLATIONS = (
    *(
        "boundary",
        "invariant",
        "severity",
        "authority",
        "reach",
        "reach_by",
        "reached_in",
        "config",
        "configs",
        "message",
        "subject",
    ),
    *("expected", "actual", "counterexample", "where", "path", "line", "symbol", "found", "violation_count", "remedy"),
)
EVIDENCE = ("boundary", "invariant", "config", "kind", "surface", "symbol", "path", "line", "calls", "digest", "value")
# What a notebook shows of them: what is wrong first, and no column that repeats what its title says.
BRIEF = ("invariant", "severity", "authority", "kind", "status", "checked", "claim", "note")
WRONG = ("severity", "invariant", "message", "where", "violation_count", "remedy")


def builtin(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Findings as they stand in a document."""
    return [msgspec.to_builtins(f) for f in findings]


def findings_frame(findings: Iterable[Mapping[str, Any]], columns: Sequence[str] = FINDINGS) -> pd.DataFrame:
    """One row a finding, with its weightiest example. `counts`: whether it is a violation that fails an audit.

    `severity`, `status`, `authority` and `reach` are ordered categories, `checked` and `violation_count` integers,
    `configs` a list: all in which it came out alike.
    """
    rows = []
    for f in findings:
        first = f["violations"][0] if f["violations"] else None
        told = {
            "counts": counts(f),
            "where": spot(first and first["where"]) or None,
            "message": first["message"] if first else None,
        }
        cells = {**_blank(f, "note", "same_as"), **told, "configs": list(f["configs"])}
        rows.append([cells[c] for c in columns])
    return table(columns, rows)


def violations_frame(findings: Iterable[Mapping[str, Any]], columns: Sequence[str] = VIOLATIONS) -> pd.DataFrame:
    """One row an example of a violation (the document keeps at most a few of each finding; `violation_count` counts
    all). `expected`, `actual` and `counterexample` are what the document has: text, numbers, lists, mappings."""
    rows = []
    for f in findings:
        for v in f["violations"]:
            own = {k: v[k] or f[k] for k in ("severity", "authority", "reach", "reach_by", "remedy")}
            place = v["where"] or {"path": None, "line": None, "symbol": None}
            told = {
                **_blank(v, "subject", "found"),
                **own,
                **place,
                "where": spot(v["where"]) or None,
                "configs": list(f["configs"]),
            }
            cells = {**f, **told}
            rows.append([cells[c] for c in columns])
    return table(columns, rows)


def evidence_frame(findings: Iterable[Mapping[str, Any]], columns: Sequence[str] = EVIDENCE) -> pd.DataFrame:
    """One row a handle that a finding's verdict stands on: a function, a key, calls, an artifact, a measured fact."""
    rows = []
    for f in findings:
        for e in f["evidence"]:
            own = {**_blank(e, "surface", "symbol", "path", "line", "calls", "digest"), "kind": e["kind"]}
            rows.append([f[c] if c in ("boundary", "invariant", "config") else own.get(c) for c in columns])
    return table(columns, rows)


def _blank(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The mapping with None where one of these is an empty text."""
    return {k: v if v or k not in names else None for k, v in given.items()}


class Audit:
    """An audit's document, `audit.json`, read.

    Attributes:
        document: all that it holds, as builtins.
    """

    def __init__(self, made: Mapping[str, Any]) -> None:
        self.document = dict(made)
        show_frames()

    @property
    def target(self) -> dict[str, Any]:
        """Who was audited: kind, name, commit, era, versions."""
        return dict(self.document["target"])

    @property
    def configs(self) -> list[str]:
        """The configs under audit."""
        return list(self.document["configs"])

    @property
    def summary(self) -> dict[str, Any]:
        """Counts of findings by status and severity."""
        return dict(self.document["summary"])

    def to_dataframe(self) -> pd.DataFrame:
        """One row a finding, in the document's order: what matters first (`findings_frame`)."""
        return findings_frame(self.document["findings"])

    def violations(self) -> pd.DataFrame:
        """One row an example of a violation (`violations_frame`)."""
        return violations_frame(self.document["findings"])

    def evidence(self) -> pd.DataFrame:
        """One row a handle that a verdict stands on (`evidence_frame`)."""
        return evidence_frame(self.document["findings"])

    def __repr__(self) -> str:
        told = ", ".join(f"{self.summary[s]} {s}" for s in ("held", "violated", "unbound", "error"))
        return f"<Audit of {self.target['name']}: {told}>"


def read_audit(path: str | Path) -> Audit:
    """Read an `audit.json`, or that of a folder which `coordexp-audit run` or `check` wrote.

    Raises:
        UsageError: there is none, or it is of another schema.
    """
    return Audit(document.read_audit(Path(path)))
