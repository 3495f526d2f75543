"""What a predicate says: a `Problem` for each way in which its subject is wrong, `Undecided` where it can't tell."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Authority, Severity, Violation


class Problem(msgspec.Struct, frozen=True):
    """One way in which a subject breaks a claim. Every predicate yields these, whoever judges.

    message: what is wrong, for a stranger. subject: what of the judged thing (a key path, a metric, a tensor, a
    symbol). expected, actual, counterexample: JSON-able. token: the first token at which it shows, 0-based, if at one.
    where: the place, if the predicate knows it. severity, authority, kind, remedy: as a `Violation` has
    them.
    """

    message: str
    subject: str = ""
    expected: Any = None
    actual: Any = None
    counterexample: Any = None
    token: int | None = None
    where: Where | None = None
    severity: Severity | None = None
    authority: Authority | None = None
    kind: str = ""
    remedy: str = ""

    def violation(self, subject: str = "", case: dict[str, Any] | None = None) -> Violation:
        """As a finding reports it. subject: the name of the judged thing, before the problem's own. case: what was
        asked, to stand in the counterexample."""
        told = self.token is None or re.search(rf"\btoken {self.token}\b", self.message)
        text = self.message if told else f"{self.message} (token {self.token})"
        shown = self.counterexample
        if case is not None or self.token is not None:
            token = {} if self.token is None else {"token": self.token}
            rest = {} if shown is None else {"shown": shown}
            shown = {**(case or {}), **token, **rest}
        named = ": ".join(s for s in (subject, self.subject) if s)
        return Violation(
            text,
            named,
            self.expected,
            self.actual,
            shown,
            self.where,
            severity=self.severity,
            authority=self.authority,
            kind=self.kind,
            remedy=self.remedy,
        )


class Undecided(Exception):
    """The subject at hand can't decide the claim, or not all of it; the message names what is missing."""
