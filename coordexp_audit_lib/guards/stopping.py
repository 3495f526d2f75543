"""From what the judge finds on a live object to the one error that stops a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple, NoReturn

from msgspec.structs import replace

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import Claim, Ledger, claims, claims_on
from coordexp_audit_lib.core.errors import AuditError, InvariantViolation
from coordexp_audit_lib.core.finding import Finding, Violation, tidy
from coordexp_audit_lib.core.judge import Artifact, finding_of, sheet_for
from coordexp_audit_lib.core.problem import Problem

LONGEST = 160
UNJUDGED = ("error",)
Found = Callable[[Ledger], Iterable[Problem]]


class Verdict(NamedTuple):
    """A finding of the judge, and the violation that was found first, with all digits of its numbers."""

    finding: Finding
    first: Violation | None


def judged(claim: Claim, found: Found) -> Verdict:
    """Judge a claim on a live object by what its predicate finds there."""
    seen: list[Violation] = []

    def noted(violation: Violation) -> Violation:
        seen.append(violation)
        return violation

    sheet = sheet_for(claim, noted)
    sheet.run(lambda: map(_at_one_token, found(sheet.ledger)))
    return Verdict(finding_of(Artifact(None), sheet), next(iter(seen), None))


def judge_live(subject: Any, boundary: str) -> list[Verdict]:
    """Judge every claim of a boundary that has a word to say on such an object."""
    kind: Any = type(subject)
    return [judged(c, partial(c.predicates[kind], subject)) for c in _on(kind, boundary)]


def check(claim: str, found: Found, where: str = "") -> None:
    """Judge one claim of a live object; `where` is what was judged, by default the subject that a problem names.

    Raises:
        InvariantViolation: it is broken. AuditError: it could not be judged.
    """
    stop_at(judged(claim_of(claim), found), where)


def counted(found: Callable[[], Iterable[Problem]]) -> Found:
    """What is found on the one object at hand, which counts as judged."""

    def one(ledger: Ledger) -> Iterator[Problem]:
        ledger.judged()
        yield from found()

    return one


def stop_at(verdict: Verdict, where: str = "", *, fallback: str = "", also: Sequence[str] = ()) -> None:
    """Raise if the claim is broken, or could not be judged.

    Args:
        where: what was judged, by default the subject that the problem names, or else `fallback`. also: other claims
            that it breaks.
    """
    finding, first = verdict
    if first is not None:
        text = first.message + (f" (it breaks {', '.join(also)} too)" if also else "")
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


def _at_one_token(problem: Problem) -> Problem:
    """A problem whose message names its token already does not name it twice."""
    return replace(problem, token=None) if f"token {problem.token}" in problem.message else problem


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
    return {c.id: c for c in claims(boundary)}[id]


@lru_cache
def _on(kind: type, boundary: str) -> tuple[Claim, ...]:
    boundaries.load([boundary])
    return tuple(claims_on(kind, boundary))
