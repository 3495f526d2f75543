"""What the guards saw in a run: `audit.json`, written when it ends or is stopped."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coordexp_audit_lib.boundaries.metrics.predicates.log import Log, Row
from coordexp_audit_lib.core.errors import AuditError, one_line
from coordexp_audit_lib.core.finding import Finding, tidy
from coordexp_audit_lib.guards.collator import GuardedCollator, written
from coordexp_audit_lib.guards.outputs import words
from coordexp_audit_lib.guards.stopping import judge_live

SCHEMA = 1
KEPT_ROWS = 4096
KEPT_WORDS = 32  # of a claim

_log = logging.getLogger(__name__)


class Diary:
    """Counts of what was judged, and the logged rows; only one rank writes."""

    def __init__(self, collators: Sequence[GuardedCollator]) -> None:
        self.rows: list[Row] = []
        self._counts = Counter[str]()
        self._run: dict[str, dict[str, Any]] = {}
        self._collators = collators
        self._folder: Path | None = None

    def began(self, folder: Path, *, writes: bool) -> None:
        self._folder = folder if writes else None

    def count(self, what: str, times: int = 1) -> None:
        if times:
            self._counts[what] += times

    def row(self, row: Row) -> None:
        self.count("logged rows")
        self.rows.append(row)
        del self.rows[:-KEPT_ROWS]

    def tell(self, finding: Finding) -> None:
        """Keep what was found in the run and stops nothing; the log warns of it once."""
        kept = self._run.setdefault(finding.invariant, {"judged": 0, "found": []})
        kept["judged"] += finding.checked
        for violation in finding.violations:
            if violation.message not in kept["found"] and len(kept["found"]) < KEPT_WORDS:
                kept["found"].append(violation.message)
                _log.warning("[%s] %s", finding.invariant, violation.message)
        if finding.note and not finding.checked:
            kept["undecided"] = finding.note

    def note(self, claim: str, what: str) -> None:
        """Keep what was told of already, and stops nothing."""
        kept = self._run.setdefault(claim, {"judged": 0, "found": []})
        if what not in kept["found"] and len(kept["found"]) < KEPT_WORDS:
            kept["found"].append(what)

    def failed(self, place: str, error: Exception) -> None:
        """Keep that a look at the run failed by itself; the run goes on."""
        said = self._run.setdefault("failed", {})
        if len(said) < KEPT_WORDS:
            said.setdefault(place.rstrip("0123456789 "), one_line(f"{type(error).__name__}: {error}"))

    def ended(self, step: int, facts: Mapping[str, Any]) -> None:
        """Write that the run went through, with what the whole log says beyond single rows, and further facts of the
        run, where there are any."""
        told = {"log": self._log(), **{name: fact for name, fact in facts.items() if fact}}
        self._write({"status": "completed", "steps": step, **told})

    def stopped(self, error: AuditError, place: str) -> None:
        """Write why the run was stopped."""
        told = {"invariant": getattr(error, "invariant", ""), "message": str(error), "where": error.where}
        self._write({"status": "stopped", "at": place, "violation": told})

    def _log(self) -> dict[str, Any]:
        """For each claim on logs what it says of the rows: its problems, or why it can't tell."""
        found: dict[str, Any] = {}
        for finding, _ in judge_live(Log("training log", self.rows, words()), "metrics"):
            said = [v.message for v in finding.violations]
            found[finding.invariant] = said if said or not finding.note else f"undecided: {finding.note}"
        return found

    def _write(self, what: dict[str, Any]) -> None:
        if self._folder is None:
            return
        batches = sum((Counter(collator.decided) for collator in self._collators), Counter[str]())
        # What loader processes collate is judged there and not counted here.
        seen = sum(collator.seen for collator in self._collators)
        counts = {"collated here": seen, "judged": {**self._counts, **batches}}
        document = {"schema": SCHEMA, **what, **counts, "run": self._run}
        self._folder.mkdir(parents=True, exist_ok=True)
        written(self._folder / "audit.json", tidy(document))
