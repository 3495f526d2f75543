"""From what the judge finds on a live object to the one error that stops a run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import Claim, claims_on, declared
from coordexp_audit_lib.core.errors import AuditError, InvariantViolation
from coordexp_audit_lib.core.finding import Finding, Violation, tidy
from coordexp_audit_lib.core.judge import Artifact, judge_artifact

LONGEST = 160
UNJUDGED, ADVICE = ("error",), ("P2",)


class Verdict(NamedTuple):
    """A finding of the judge, and the violation that was found first, with all digits of its numbers. One that harms
    nothing, as its judge says of it alone, is in the finding and stops no run."""

    finding: Finding
    first: Violation | None


def judged(claim: Claim, subject: Any) -> Verdict:
    """Judge a claim on a live object, by what it says of objects of that type."""
    seen: list[Violation] = []

    def noted(violation: Violation) -> Violation:
        if violation.severity not in ADVICE:
            seen.append(violation)
        return violation

    return Verdict(judge_artifact(Artifact(subject), claim, noted), next(iter(seen), None))


def judge_live(subject: Any, boundary: str) -> list[Verdict]:
    """Judge every claim of a boundary that has a word to say on such an object."""
    kind: Any = type(subject)
    return [judged(c, subject) for c in _on(kind, boundary)]


def check(claim: str, subject: Any, where: str = "") -> None:
    """Judge one claim of a live object; `where` is what was judged, by default the subject that a problem names.

    Raises:
        InvariantViolation: it is broken. AuditError: it could not be judged.
    """
    stop_at(judged(claim_of(claim), subject), where)


def stop_at(verdict: Verdict, where: str = "", *, fallback: str = "", also: Sequence[str] = ()) -> None:
    """Raise if the claim is broken, or could not be judged.

    Args:
        where: what was judged, by default the subject that the problem names, or else `fallback`. also: other claims
            that it breaks.
    """
    finding, first = verdict
    if first is not None:
        text = f"{first.message}, at {first.subject}" if where and first.subject else first.message
        text += f" (it breaks {', '.join(also)} too)" if also else ""
        place = where or first.subject or fallback
        stop(finding.invariant, text, where=place, expected=first.expected, actual=first.actual)
    if finding.status in UNJUDGED:
        raise AuditError(finding.note, where=where)


def stop(
    claim: str, message: str, *, where: str = "", expected: Any = None, actual: Any = None, remedy: str = ""
) -> NoReturn:
    """Raise the violation of an invariant, with what was expected and found, and its remedy.

    Args:
        claim: the invariant's id. where: dotted path, file, or what was judged. remedy: the invariant's own by default.
    """
    what = message.rstrip(".")
    if expected is not None or actual is not None:
        what += f": expected {shown(expected)}, found {shown(actual)}"
    remedy, expected, actual = remedy or claim_of(claim).remedy, _exact(expected), _exact(actual)
    raise InvariantViolation(claim, what, where=where, remedy=remedy, expected=expected, actual=actual)


def shown(value: Any) -> str:
    """A value in one short line."""
    text = "nothing" if value is None else value if isinstance(value, str) else repr(_exact(value))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _exact(value: Any) -> Any:
    """Builtins; a number keeps all its digits, for here they may be the point."""
    return value if isinstance(value, (int, float)) else tidy(value)


@lru_cache
def claim_of(id: str) -> Claim:
    """The claim of that id; its boundary is loaded."""
    boundary = id.partition(".")[0]
    boundaries.load([boundary])
    return {c.id: c for c in declared(boundary)}[id]


@lru_cache
def _on(kind: type, boundary: str) -> tuple[Claim, ...]:
    boundaries.load([boundary])
    return tuple(claims_on(kind, boundary))
