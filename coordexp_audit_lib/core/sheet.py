"""One claim's record on one subject: what was found, counted, grouped and left out, and the verdict that follows."""

from __future__ import annotations

import heapq
import re
import time
from collections.abc import Callable, Iterable
from itertools import zip_longest
from typing import NamedTuple

import msgspec

from coordexp_audit_lib.core.claim import Claim, Ledger
from coordexp_audit_lib.core.errors import AuditError, SurfaceUnbound, one_line
from coordexp_audit_lib.core.evidence import Evidence
from coordexp_audit_lib.core.finding import (
    AUTHORITIES,
    REACHES,
    SEVERITIES,
    Authority,
    Finding,
    Kind,
    Like,
    Reach,
    Severity,
    Status,
    Violation,
    brief,
    tidy,
)
from coordexp_audit_lib.core.problem import Problem, Undecided

NOTHING = "nothing that the claim is about was there to judge"
EXAMPLES = 5  # of a claim of few kinds; of one of many, one of each
KINDS = 24
SUBJECTS = 5
COMPARED = 1000  # of a kind; more are counted, and not looked at for a smaller example
OTHERS = "violations of further kinds"
_PARTICULAR = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`|\b\S*\d\S*")


class Weight(NamedTuple):
    """What ranks a violation: lower is weightier."""

    reach: Reach
    authority: Authority
    severity: Severity

    @property
    def rank(self) -> tuple[bool, int, int, int]:
        """What counts before what is latent; then by effect, by reach, by authority."""
        order = SEVERITIES.index(self.severity), REACHES.index(self.reach), AUTHORITIES.index(self.authority)
        return (self.reach == "none", *order)


class Group:
    """Violations of one kind and weight: counted exactly, a few of the smallest kept."""

    def __init__(self, weight: Weight, name: str) -> None:
        self.weight, self.name = weight, name
        self.count = 0
        self.subjects: dict[str, None] = {}
        self.kept: list[_Kept] = []

    def add(self, violation: Violation) -> None:
        self.count += 1
        if len(self.subjects) < SUBJECTS and violation.subject:
            self.subjects.setdefault(tidy(violation.subject))
        if self.count > COMPARED:
            return
        item = _Kept((violation.size(), self.count), violation)
        if len(self.kept) < EXAMPLES:
            heapq.heappush(self.kept, item)
        else:
            heapq.heappushpop(self.kept, item)

    @property
    def examples(self) -> list[Violation]:
        """Smallest first, and of equal ones those that were found first."""
        return [k.violation for k in sorted(self.kept, reverse=True)]

    def like(self, smallest: Violation) -> Like:
        message = OTHERS if self.name == OTHERS else tidy(smallest.message)
        w = self.weight
        return Like(message, self.count, w.severity, w.authority, w.reach, tuple(self.subjects))


class _Kept:
    """A violation in a heap of which the largest leaves first."""

    def __init__(self, key: tuple[tuple[int, str], int], violation: Violation) -> None:
        self.key, self.violation = key, violation

    def __lt__(self, other: _Kept) -> bool:
        return self.key > other.key


class Sheet:
    """A check or predicate is run into it whole (`run`), or, where many claims are judged in one pass over a stream,
    piece by piece (`take`).

    Args:
        claim: what is judged. ledger: what the check counts in. authority: whose demand the claim is on this subject.
        reach: of a violation that says none itself. finish: what completes a violation once the check has ended.
    """

    def __init__(
        self,
        claim: Claim,
        ledger: Ledger | None = None,
        *,
        authority: Authority = "practice",
        reach: Reach = "unknown",
        finish: Callable[[Violation], Violation] | None = None,
    ) -> None:
        self.claim, self.ledger = claim, ledger or Ledger()
        self.authority, self.reach, self.finish = authority, reach, finish
        self.count = 0
        self.waiting: list[Violation] = []
        self.groups: dict[tuple[Weight, str], Group] = {}
        self.stopped: tuple[Status, str] | None = None
        self.started = time.perf_counter()

    def run(self, found: Callable[[], Iterable[Violation | Problem]]) -> None:
        """Judge to the end, whatever the check raises."""
        self.take(found)
        finish = self.finish
        if finish is not None:
            self.finish = None
            for violation in self.waiting:
                self.take(lambda v=violation: [finish(v)])  # type: ignore[misc]

    def take(self, found: Callable[[], Iterable[Violation | Problem]]) -> None:
        """Add what is found; an exception costs this claim its verdict, and nothing else."""
        try:
            for one in found():
                self.add(one)
        except (SurfaceUnbound, Undecided) as error:
            self.stopped = self.stopped or ("unbound", str(error))
        except AuditError as error:
            self.stopped = ("error", str(error))
        except Exception as error:  # a check that crashed is its own kind of finding, never a pass
            self.stopped = ("error", one_line(f"the check itself failed: {type(error).__name__}: {error}"))

    def add(self, one: Violation | Problem) -> None:
        violation = one.violation() if isinstance(one, Problem) else one
        if self.finish is not None:
            self.waiting.append(violation)
            return
        self.count += 1
        weight, kind = self.weight(violation), violation.kind or kind_of(violation.message)
        group = self.groups.get((weight, kind))
        if group is None:
            kind = kind if len(self.groups) < KINDS else OTHERS
            group = self.groups.setdefault((weight, kind), Group(weight, kind))
        group.add(violation)

    def weight(self, violation: Violation) -> Weight:
        """By effect, and what is only our own measure is at most P2."""
        authority = violation.authority or self.authority
        severity: Severity = "P2" if authority == "practice" else violation.severity or self.claim.severity
        return Weight(violation.reach or self.reach, authority, severity)

    def ranked(self) -> list[tuple[Group, list[Violation]]]:
        """The kinds with their examples, the weightiest first, of equal ones that with the smallest example."""
        groups = [(g, g.examples) for g in self.groups.values()]
        return sorted(groups, key=lambda pair: (pair[0].weight.rank, pair[1][0].size(), pair[0].name))

    @property
    def examples(self) -> list[Violation]:
        """One of each kind before a second of any; each says its own weight."""
        ranked = [[_weighed(v, group.weight) for v in examples] for group, examples in self.ranked()]
        rounds = [v for turn in zip_longest(*ranked) for v in turn if v is not None]
        return rounds[: max(EXAMPLES, len(ranked))]

    def verdict(self) -> tuple[Status, str]:
        """What was found stands, also where the check broke off; what was not judged, or not in full, is not held."""
        note = self.stopped[1] if self.stopped else "; ".join(f"not judged: {p}" for p in self.ledger.unjudged)
        if self.count:
            return "violated", note
        if self.stopped:
            return self.stopped
        if self.ledger.unjudged:
            return "unbound", note
        return ("held", "") if self.ledger.checked else ("unbound", NOTHING)

    def finding(self, *, kind: Kind, config: str | None, evidence: list[Evidence], spec: str) -> Finding:
        status, note = self.verdict()
        ranked, examples = self.ranked(), self.examples
        worst = ranked[0][0].weight if ranked else None
        return Finding(
            invariant=self.claim.id,
            boundary=self.claim.boundary,
            severity=worst.severity if worst else "P2" if self.authority == "practice" else self.claim.severity,
            kind=kind,
            status=status,
            checked=self.ledger.checked,
            config=config,
            claim=self.claim.claim,
            violations=examples,
            violation_count=self.count,
            evidence=evidence,
            remedy=(examples[0].remedy if examples else "") or self.claim.remedy,
            spec=spec,
            note=tidy(note),
            seconds=round(time.perf_counter() - self.started, 3),
            authority=worst.authority if worst else self.authority,
            reach=min((g.weight.reach for g, _ in ranked), key=REACHES.index, default=None),
            reach_by=examples[0].reach_by if examples else "",
            kinds=tuple(group.like(of_kind[0]) for group, of_kind in ranked),
            configs=(config,) if config else (),
        )


def kind_of(message: str) -> str:
    """A message without what is particular to one case: quotations, and words with a digit."""
    return _PARTICULAR.sub("…", message[:500])


def _weighed(v: Violation, weight: Weight) -> Violation:
    """The violation, fit for a report, with its weight written into it."""
    return msgspec.structs.replace(
        v,
        message=tidy(v.message),
        subject=tidy(v.subject),
        expected=tidy(brief(v.expected)),
        actual=tidy(brief(v.actual)),
        counterexample=tidy(brief(v.counterexample)),
        severity=weight.severity,
        authority=weight.authority,
        reach=weight.reach,
        kind=tidy(v.kind or kind_of(v.message)),
    )
