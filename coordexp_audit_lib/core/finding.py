"""Violations and findings: what an audit says, in types that every renderer reads."""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec

from coordexp_audit_lib.core.evidence import Evidence, Where, canonical_json

Severity = Literal["P0", "P1", "P2"]
Kind = Literal["B", "S", "A"]
Status = Literal["held", "violated", "unbound", "error"]

STATUSES: tuple[Status, ...] = ("held", "violated", "unbound", "error")
SEVERITIES: tuple[Severity, ...] = ("P0", "P1", "P2")
MAX_EXAMPLES = 5
MAX_TEXT = 2000


class Place(msgspec.Struct, frozen=True):
    """A place that may be the one to mend, and how it was found: `refusal` (the innermost frame of the target),
    `parser` (the section class that let a key pass), `lines` (those that ran when it failed and not when it passed),
    `data flow`, `symbol` (named by the claim or the pipeline), `config` (a line of YAML) or `call` (what was asked)."""

    where: Where
    found: str


class Violation(msgspec.Struct, frozen=True):
    """One way in which a claim fails.

    message: what is wrong, for a stranger. subject: what was judged (an input's name, a key path, a token).
    expected, actual, counterexample: JSON-able; the counterexample is the smallest input that shows it.
    """

    message: str
    subject: str = ""
    expected: Any = None
    actual: Any = None
    counterexample: Any = None
    where: Where | None = None
    found: str = ""
    others: tuple[Place, ...] = ()

    def size(self) -> tuple[int, str]:
        """Sort key: smaller counterexamples first, then by text."""
        text = canonical_json(tidy(self.counterexample))
        return (len(text), self.message + text)


class Finding(msgspec.Struct, frozen=True):
    """One invariant's result on one target and config (`config` is null where it does not depend on one).

    checked: how many cases were judged; zero is never `held`. violations: at most five, smallest first;
    violation_count: how many there were. note: why a finding is `unbound` or `error`.
    """

    invariant: str
    boundary: str
    severity: Severity
    kind: Kind
    status: Status
    checked: int
    config: str | None
    claim: str
    violations: list[Violation]
    violation_count: int
    evidence: list[Evidence]
    remedy: str
    spec: str
    note: str
    seconds: float


def tidy(value: Any) -> Any:
    """Builtins made fit for a report: floats rounded, NaN and infinities named, long texts cut, bad text escaped."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else repr(value)
    if isinstance(value, str):
        clean = value.encode("utf-8", "backslashreplace").decode("utf-8")
        return clean if len(clean) <= MAX_TEXT else f"{clean[:MAX_TEXT]}… (+{len(clean) - MAX_TEXT} characters)"
    if isinstance(value, dict):
        return {tidy(str(k)): tidy(v) for k, v in sorted(value.items(), key=lambda kv: str(kv[0]))}
    if isinstance(value, (list, tuple)):
        return [tidy(v) for v in value]
    if value is None or isinstance(value, (bool, int)):
        return value
    return tidy(msgspec.to_builtins(value))
