"""A claim as it is told: what it demands, why, what decides it, where it is written, and the faults that prove it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from coordexp_audit_lib.core.claim import Claim
from coordexp_audit_lib.core.fault import Fault, Spoil, faults, spoils
from coordexp_audit_lib.report.sources import PACKAGE


def described(claim: Claim) -> dict[str, Any]:
    """A claim as JSON."""
    return {
        **{"id": claim.id, "boundary": claim.boundary, "severity": claim.severity, "claim": claim.claim},
        **{"per_config": claim.per_config, "remedy": claim.remedy, "doc": claim.doc, "file": _file(claim)},
        "spec": [str(c) for c in claim.spec],
        "decided_by": deciders(claim),
        "faults": [{"id": f.id, "summary": f.summary} for f in faults_of(claim)],
    }


def deciders(claim: Claim) -> list[str]:
    """What the claim is asked of: a target by its surfaces or its source, and kinds of artifacts and live objects."""
    target = ["source of a target" if claim.kind == "S" else "target"] if claim.of_targets else []
    return target + sorted(kind.__name__ for kind in claim.predicates)


def faults_of(claim: Claim) -> Iterable[Fault | Spoil]:
    """The deliberate breaks that the claim must find: of a target's answers, then of artifacts."""
    yield from (f for f in faults() if claim.id in f.caught_by)
    yield from (s for s in spoils() if s.caught_by == claim.id)


def _file(claim: Claim) -> str:
    own = PACKAGE / "boundaries" / claim.boundary / "claims" / f"{claim.id.partition('.')[2]}.py"
    if not claim.of_targets and own.is_file():
        return own.relative_to(PACKAGE.parent).as_posix()
    path = Path(inspect.getsourcefile(inspect.unwrap(claim.check)) or "").resolve()
    return path.relative_to(PACKAGE.parent).as_posix() if path.is_relative_to(PACKAGE) else str(path)
