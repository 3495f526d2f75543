"""Problems gathered by class, so that a finding shows each class once with its smallest text and its count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Severity
from coordexp_audit_lib.core.problem import Problem


class Tally:
    """Collects what is wrong with texts; `problems` yields one problem for each class of text."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], list[tuple[str, str, str]]] = {}

    def add(self, kind: str, message: str, text: str, order: str, mode: str = "") -> None:
        """mode: how the text was read, where texts of one class are read in more than one way."""
        self.found.setdefault((kind, mode), []).append((text, order, message))

    def problems(
        self,
        where: Where | None,
        clauses: Mapping[str, str] | None = None,
        severities: Mapping[str, Severity] | None = None,
    ) -> Iterator[Problem]:
        """One for each class: its smallest text, what is wrong with it, how many texts of the class fail.

        where: the reader. clauses: by class, the clause of the contract that decides it. severities: by class, where
        it is less than the claim's; by class and mode where it hangs on that.
        """
        for (kind, mode), failed in self.found.items():
            named = f"{kind}, in {mode} mode" if mode else kind
            text, order, message = min(failed, key=lambda f: (len(f[0]), f))
            count = len({(t, o) for t, o, _ in failed})
            yield Problem(
                f"{kind}: {message}" if kind not in message else message,
                subject=f"{named} ({count} texts)",
                expected=(clauses or {}).get(kind),
                actual=message,
                counterexample={"text": text, "order": order},
                where=where,
                severity=(severities or {}).get(named, (severities or {}).get(kind)),
                kind=named,
            )
