"""From what a predicate yields to the one error that stops a run."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NoReturn

from coordexp_audit_lib.core.claim import invariants
from coordexp_audit_lib.core.errors import InvariantViolation
from coordexp_audit_lib.core.finding import tidy

LONGEST = 160


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
    raise InvariantViolation(
        claim, what, where=where, remedy=remedy or remedy_of(claim), expected=_exact(expected), actual=_exact(actual)
    )


def at_token(message: str, token: int | None) -> str:
    """A message with the place that it is about."""
    return message if token is None or f"token {token}" in message else f"{message} (token {token})"


def shown(value: Any) -> str:
    """A value in one short line."""
    text = "nothing" if value is None else value if isinstance(value, str) else repr(_exact(value))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _exact(value: Any) -> Any:
    """Builtins; a number keeps all its digits, for here they may be the point."""
    return value if isinstance(value, (int, float)) else tidy(value)


def remedy_of(claim: str) -> str:
    """What the invariant itself says to do about its violation."""
    boundary = claim.partition(".")[0]
    import_module(f"coordexp_audit_lib.{boundary}.invariants")
    return next((i.remedy for i in invariants(boundary) if i.id == claim), "")
