"""Problems gathered by class, so that a finding shows each class once with its smallest text and its count."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.coordjson.contract import PARSE
from coordexp_audit_lib.core.claim import Context
from coordexp_audit_lib.core.finding import Violation


class Tally:
    """Collects problems; `violations` yields one per class."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.found: dict[str, list[tuple[str, str, str]]] = {}

    def add(self, kind: str, message: str, text: str, order: str) -> None:
        self.found.setdefault(kind, []).append((text, order, message))

    def violations(self, clauses: dict[str, str] | None = None) -> Iterator[Violation]:
        """One violation per class: its smallest text, what is wrong with it, how many texts of the class fail."""
        for kind, problems in self.found.items():
            text, order, message = min(problems, key=lambda p: (len(p[0]), p))
            clause = (clauses or {}).get(kind)
            count = len({(t, o) for t, o, _ in problems})
            yield Violation(
                f"{kind}: {message}" if kind not in message else message,
                subject=f"{kind} ({count} texts)",
                expected=clause,
                actual=message,
                counterexample={"text": text, "order": order},
                where=self.ctx.where(PARSE),
            )
