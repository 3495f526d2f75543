"""`coordexp-audit upstream [WHEEL|DIR|PACKAGE==VERSION …]`: which releases keep the contracts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from coordexp_audit_lib.boundaries.upstream import matrix as m
from coordexp_audit_lib.boundaries.upstream.sources import open_source
from coordexp_audit_lib.boundaries.upstream.verdict import Verdict
from coordexp_audit_lib.core.claim import Invariant, invariants
from coordexp_audit_lib.core.evidence import Evidence
from coordexp_audit_lib.core.finding import MAX_EXAMPLES, Finding, Status, Violation, tidy

BOUNDARY, MATRIX = "upstream", "upstream.versions_matrix"
Rows = list[tuple[str, ...]]


def read_matrix(words: Sequence[str], cache: Path | None = None) -> m.Matrix:
    """The verdicts on what the user named; without a word, those that this library ships.

    Raises:
        UsageError: a word names no release that can be read.
    """
    if not words:
        return m.table(m.packaged().verdicts)
    made: list[Verdict] = []
    for word in dict.fromkeys(words):
        found = m.verdicts(open_source(word, cache))
        known = {(v.contract, v.version) for v in made}
        made += [v for v in found if (v.contract, v.version) not in known]
    return m.table(made)


def findings(matrix: m.Matrix, seconds: float = 0.0) -> list[Finding]:
    """One finding for each claim and release: violated by what is moved, changed or gone.

    Where nothing is, but something cannot be decided, it is unbound. `config` names the release.
    """
    checks = {i.id: i for i in invariants(BOUNDARY)}
    owner = {k.id: k.invariant for k in m.contracts()}
    found = []
    for distribution, versions in sorted(matrix.versions.items()):
        for version in versions:
            of_release = [v for v in matrix.verdicts if (v.distribution, v.version) == (distribution, version)]
            for check in checks.values():
                mine = [v for v in of_release if owner[v.contract] == check.id]
                if mine:
                    found.append(_finding(check, f"{distribution}=={version}", mine, seconds))
    return found


def _finding(check: Invariant, release: str, verdicts: list[Verdict], seconds: float) -> Finding:
    broken = [_violation(v, q.kind, q.symbol, q.what) for v in verdicts for q in v.problems if q.kind != "undecidable"]
    undecided = [f"{q.symbol}: {q.what}" for v in verdicts for q in v.problems if q.kind == "undecidable"]
    status: Status = "violated" if broken else "unbound" if undecided else "held"
    note = f"not decidable from this package alone: {undecided[0]}" if status == "unbound" else ""
    return Finding(
        invariant=check.id,
        boundary=check.boundary,
        severity=check.severity,
        kind="S",
        status=status,
        checked=sum(len(m.contract(v.contract).parts) for v in verdicts),
        config=release,
        claim=check.claim,
        violations=sorted(broken, key=Violation.size)[:MAX_EXAMPLES],
        violation_count=len(broken),
        evidence=[Evidence(kind="fact", symbol=v.contract, value=v.word) for v in verdicts],
        remedy=check.remedy,
        spec="; ".join(map(str, check.spec)),
        note=tidy(note),
        seconds=seconds,
    )


def _violation(verdict: Verdict, kind: str, symbol: str, what: str) -> Violation:
    contract = m.contract(verdict.contract)
    message = f"{symbol} of {verdict.distribution} {verdict.version}: {kind}: {what}"
    return Violation(tidy(message), contract.title, f"as used by {contract.used}", kind, symbol)


def rows(matrix: m.Matrix) -> dict[str, tuple[tuple[str, ...], Rows]]:
    """Of each distribution, a table: header and rows, a surface and its verdict for each version."""
    words = {(v.contract, v.version): v.word for v in matrix.verdicts}
    made = {}
    for distribution, versions in sorted(matrix.versions.items()):
        lines = [
            (m.contract(id).title, *(words.get((id, v), "-") for v in versions))
            for id in matrix.contracts
            if m.contract(id).distribution == distribution
        ]
        made[distribution] = ((distribution, *versions), lines)
    return made


def details(matrix: m.Matrix) -> Rows:
    """What is not kept, with the releases that it is true of: (versions, surface, symbol, verdict, what)."""
    grouped: dict[tuple[str, ...], list[str]] = {}
    for v in matrix.verdicts:
        for q in v.problems:
            grouped.setdefault((v.distribution, m.contract(v.contract).title, q.symbol, q.kind, q.what), []).append(
                v.version
            )
    return [(f"{key[0]} {_span(versions)}", *key[1:]) for key, versions in grouped.items()]


def _span(versions: list[str]) -> str:
    ordered = m.ordered(set(versions))
    return ordered[0] if len(ordered) == 1 else f"{ordered[0]} … {ordered[-1]} ({len(ordered)})"


def matrix(words: Sequence[str], cache: Path | None = None) -> tuple[m.Matrix, list[Finding]]:
    """The matrix and its findings: what the command prints, as tables or as JSON."""
    started = time.perf_counter()
    made = read_matrix(words, cache)
    return made, findings(made, round(time.perf_counter() - started, 3))
