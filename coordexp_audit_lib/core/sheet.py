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
MANY_KINDS = 4096  # that are told apart until the end
SUBJECTS = 5
COMPARED = 1000  # of a kind; more are counted, and not looked at for a smaller example
OTHERS = "violations of further kinds"
_PARTICULAR = re.compile(
    r"'[^']*'|\"[^\"]*\"|`[^`]*`"  # quotations
    r"|[-+]?[\w\[\]]+(?:[./]\w[\w\[\]]*)+|\w*[^\W_]_\w+"  # dotted keys, paths, identifiers
    r"|[-+]?\b\S*\d[^\s,;:)\]}]*"  # words with a digit
)
_LIST = re.compile(r"[\[({] ?…[^\])}]*[\])}]|…(?:, …)+")
_COUNTED = re.compile(r" \(\d+ \w+\)$")  # how many a subject stands for
SHORTEST = 3  # characters of a part of a subject that is looked for in a message


class Weight(NamedTuple):
    """What ranks a violation: lower is weightier."""

    reach: Reach
    authority: Authority
    severity: Severity
    reached_in: tuple[str, ...] = ()

    @property
    def rank(self) -> tuple[bool, int, int, int]:
        """What counts before what is latent; then by effect, by reach, by authority."""
        order = SEVERITIES.index(self.severity), REACHES.index(self.reach), AUTHORITIES.index(self.authority)
        return (self.reach == "none", *order)


class Group:
    """Violations of one kind and weight: counted exactly, a few of the smallest kept.

    seen: the number and the size of each violation that was among the smallest when it was found; what was found by
    others in further parts of a stream can be added to these, and gives what one pass over the whole would have.
    subjects: the first few, each with the first violation of it.
    """

    def __init__(self, weight: Weight, name: str) -> None:
        self.weight, self.name = weight, name
        self.count = 0
        self.subjects: dict[str, Violation] = {}
        self.seen: list[tuple[tuple[int, str], int, Violation]] = []
        self.smallest: list[_Key] = []

    def add(self, violation: Violation) -> None:
        self.count += 1
        if len(self.subjects) < SUBJECTS and violation.subject:
            self.subjects.setdefault(tidy(violation.subject), violation)
        if self.count <= COMPARED:
            self._compare(violation.size(), self.count, violation)

    def _compare(self, size: tuple[int, str], number: int, violation: Violation) -> None:
        key = _Key((size, number))
        if len(self.smallest) < EXAMPLES:
            heapq.heappush(self.smallest, key)
        elif heapq.heappushpop(self.smallest, key) is key:
            return
        self.seen.append((size, number, violation))

    def take_in(self, other: Group, moved: Callable[[Violation], Violation]) -> None:
        """Add what was found in a part that follows; `moved` says where it stands in the whole."""
        for subject, first in other.subjects.items():
            if len(self.subjects) < SUBJECTS:
                self.subjects.setdefault(subject, moved(first))
        for size, number, violation in other.seen:
            if self.count + number <= COMPARED:
                self._compare(size, self.count + number, moved(violation))
        self.count += other.count

    @property
    def examples(self) -> list[Violation]:
        """One of each subject before a second of any; smallest first, and of equal ones those that were found first."""
        smallest = [v for _, _, v in sorted(self.seen, key=lambda one: one[:2])[:EXAMPLES]]
        each = {tidy(v.subject): v for v in reversed(smallest)}
        others = [v for subject, v in self.subjects.items() if subject not in each]
        first = [v for v in smallest if each[tidy(v.subject)] is v]
        return [*first, *others, *(v for v in smallest if each[tidy(v.subject)] is not v)][:EXAMPLES]

    def like(self, smallest: Violation) -> Like:
        message = OTHERS if self.name == OTHERS else tidy(smallest.message)
        w = self.weight
        subjects = tuple(self.subjects)
        return Like(message, self.count, w.severity, w.authority, w.reach, subjects, self.name, w.reached_in)


class _Key:
    """A size and a number in a heap of which the largest leaves first."""

    def __init__(self, key: tuple[tuple[int, str], int]) -> None:
        self.key = key

    def __lt__(self, other: _Key) -> bool:
        return self.key > other.key


class Part(NamedTuple):
    """What a sheet holds of one part of a stream, to be sent to where the whole is put together."""

    checked: int
    unjudged: list[str]
    violations: int
    groups: dict[tuple[Weight, str], Group]
    stopped: tuple[Status, str] | None


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
        weight, kind = self.weight(violation), violation.kind or kind_of(violation.message, violation.subject)
        group = self.groups.get((weight, kind))
        if group is None:
            group = self._group(weight, kind)
        group.add(violation)

    def _group(self, weight: Weight, kind: str) -> Group:
        kind = kind if len(self.groups) < MANY_KINDS or (weight, kind) in self.groups else OTHERS
        return self.groups.setdefault((weight, kind), Group(weight, kind))

    def part(self) -> Part:
        """What is found so far, as it can be sent to another process."""
        return Part(self.ledger.checked, self.ledger.unjudged, self.count, self.groups, self.stopped)

    def take_in(self, part: Part, moved: Callable[[Violation], Violation] = lambda v: v) -> None:
        """Add what was found in the part that follows; the same comes out whatever the parts are."""
        self.ledger.judged(part.checked)
        for said in part.unjudged:
            self.ledger.left_out(said)
        self.count += part.violations
        if part.stopped and (part.stopped[0] == "error" or not self.stopped):
            self.stopped = part.stopped
        for (weight, kind), group in part.groups.items():
            self._group(weight, kind).take_in(group, moved)

    def weight(self, violation: Violation) -> Weight:
        """By effect, and what is only our own measure is at most P2."""
        authority = violation.authority or self.authority
        severity: Severity = "P2" if authority == "practice" else violation.severity or self.claim.severity
        return Weight(violation.reach or self.reach, authority, severity, violation.reached_in)

    def ranked(self) -> list[tuple[Group, list[Violation]]]:
        """The kinds with their examples, the weightiest first, of equal ones that with the smallest example."""
        groups = [(g, g.examples) for g in self._named()]
        return sorted(groups, key=lambda pair: (pair[0].weight.rank, pair[1][0].size(), pair[0].name))

    def _named(self) -> list[Group]:
        """The first kinds that were found, and all further ones as one."""
        found = list(self.groups.values())
        named = found[:KINDS]
        others: dict[Weight, Group] = {}
        for group in found[KINDS:]:
            other = others.setdefault(group.weight, Group(group.weight, OTHERS))
            other.take_in(group, lambda v: v)
        return [*named, *others.values()]

    @property
    def examples(self) -> list[Violation]:
        """One of each kind before a second of any, then one for each further place to mend; each says its weight."""
        ranked = [[_weighed(v, group.weight) for v in examples] for group, examples in self.ranked()]
        rounds = [v for turn in zip_longest(*ranked) for v in turn if v is not None]
        shown = rounds[: max(EXAMPLES, len(ranked))]
        known = {v.where for v in shown}
        for v in rounds[len(shown) :]:
            if v.where is not None and v.where not in known and len(shown) < KINDS:
                known.add(v.where)
                shown.append(v)
        return shown

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


def kind_of(message: str, subject: str = "") -> str:
    """A message without what is particular to one case: what it says of its subject, quotations, words with a digit,
    keys, paths and identifiers. What differs in no more than these is one kind, with its subjects counted."""
    text, whole = message[:500], _COUNTED.sub("", subject)
    for part in (whole, *re.split(r"[:,] ", whole)):
        if len(part) >= SHORTEST and part in text:
            text = re.sub(rf"(?<![\w./]){re.escape(part)}(?!\w|[./]\w)", "…", text)
    return _LIST.sub("…", _PARTICULAR.sub("…", text)).rstrip(".")


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
        kind=tidy(v.kind or kind_of(v.message, v.subject)),
    )
