"""What a pair of twins is: a bug that a public thread tells of, rebuilt by our own code, and the same without it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coordexp_audit_lib.core.errors import InvariantViolation
from coordexp_audit_lib.core.finding import Finding

Told = list[str]


@dataclass(frozen=True)
class Pair:
    """
    name: what is wrong. source: repository#number of the thread that tells of it. tool: what must tell it.
    claim, says: the claim, and a pattern of its message that holds the field or parameter at fault.
    made: of whether it is broken and an empty folder, what the tool is given.
    asked: of that, what the tool tells, a line each, `[claim] message field`; fails where it judged nothing.
    shown: the oracle, which knows nothing of the tool: of that, what the bug changes.
    """

    name: str
    source: str
    tool: str
    claim: str
    says: str
    made: Callable[[bool, Path], Any]
    asked: Callable[[Any], Told]
    shown: Callable[[Any], Any]


def told(findings: Iterable[Finding]) -> Told:
    found = list(findings)
    assert any(f.checked for f in found), "nothing was judged"
    errors = [(f.invariant, f.note) for f in found if f.status == "error"]
    assert errors == []
    return [
        f"[{f.invariant}] {v.message} {v.subject} {v.where and v.where.symbol}" for f in found for v in f.violations
    ]


def stopped(check: Callable[[], Any]) -> Told:
    """What stops a guard, if anything does."""
    try:
        judged = check()
    except InvariantViolation as error:
        return [str(error)]
    assert judged, "nothing was judged"
    return []
