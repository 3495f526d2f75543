"""The one judge: a claim on a subject, be it a target, a batch, a data file, a log, a run's folder, a release or a live
object in a guard. It counts what the predicate says it judged; a predicate that raises is one `error` finding."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from coordexp_audit_lib.core.claim import Claim, Context, Ledger, Predicate, claims_on
from coordexp_audit_lib.core.errors import AuditError, SurfaceUnbound, one_line
from coordexp_audit_lib.core.evidence import Evidence
from coordexp_audit_lib.core.finding import MAX_EXAMPLES, Finding, Kind, Status, Violation, tidy
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.problem import Problem, Undecided
from coordexp_audit_lib.core.target import Target

Progress = Callable[[Claim, str | None], None]
Asked = tuple[Claim, str]  # the config is any where the claim is about none
Judges = Callable[[Target, Sequence[Asked], int, Progress | None], list[Finding]]
NOTHING = "nothing that the claim is about was there to judge"


def same(value: Any) -> Any:
    """Leave a value as it is."""
    return value


class Artifact(msgspec.Struct, frozen=True):
    """Something to be judged that answers no questions: what a run left behind, or a live object.

    subject: what predicates read; its type says which claims it can decide (`Claim.on`). name: what findings call it.
    config: what stands in the findings' `config`. kind: of the findings. evidence: asked for after a claim was judged.
    conceal: what every text of a finding passes before it is written (secrets).
    """

    subject: Any
    name: str = ""
    config: str | None = None
    kind: Kind = "A"
    evidence: Callable[[], list[Evidence]] = list
    conceal: Callable[[Any], Any] = same


class _Kept:
    """A violation in a heap of which the largest leaves first."""

    def __init__(self, key: tuple[tuple[int, str], int], violation: Violation) -> None:
        self.key, self.violation = key, violation

    def __lt__(self, other: _Kept) -> bool:
        return self.key > other.key


class Sheet:
    """One claim's record on one subject: what was found, counted and left out, and the verdict that follows.

    A check or predicate is run into it whole (`run`), or, where many claims are judged in one pass over a stream, piece
    by piece (`take`). Only the smallest few violations are kept; they are counted exactly.
    """

    def __init__(self, ledger: Ledger | None = None, place: Callable[[Violation], Violation] = same) -> None:
        self.ledger, self.place = ledger or Ledger(), place
        self.count = 0
        self.kept: list[_Kept] = []
        self.stopped: tuple[Status, str] | None = None
        self.started = time.perf_counter()

    def run(self, found: Callable[[], Iterable[Violation | Problem]]) -> None:
        """Judge to the end, whatever the check raises."""
        self.take(found, whole=True)

    def take(self, found: Callable[[], Iterable[Violation | Problem]], whole: bool = False) -> None:
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
        violation = _tidied(self.place(one.violation() if isinstance(one, Problem) else one))
        self.count += 1
        item = _Kept((violation.size(), self.count), violation)
        if len(self.kept) < MAX_EXAMPLES:
            heapq.heappush(self.kept, item)
        else:
            heapq.heappushpop(self.kept, item)

    @property
    def examples(self) -> list[Violation]:
        """The smallest violations, smallest first, and of equal ones those that were found first."""
        return [k.violation for k in sorted(self.kept, reverse=True)]

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

    def finding(self, claim: Claim, *, kind: Kind, config: str | None, evidence: list[Evidence], spec: str) -> Finding:
        status, note = self.verdict()
        return Finding(
            invariant=claim.id,
            boundary=claim.boundary,
            severity=claim.severity,
            kind=kind,
            status=status,
            checked=self.ledger.checked,
            config=config,
            claim=claim.claim,
            violations=self.examples,
            violation_count=self.count,
            evidence=evidence,
            remedy=claim.remedy,
            spec=spec,
            note=tidy(note),
            seconds=round(time.perf_counter() - self.started, 3),
        )


def judge(target: Target, claim: Claim, config: str, seed: int = 0) -> Finding:
    """Judge a claim on a target. Never raises for what the target does: that becomes the finding's status.

    A claim that is not about a config sees none, so that its verdict is the same whichever configs are audited.
    """
    ctx = Context(target, config if claim.per_config else "", seed, claim.id)
    sheet = Sheet(ctx, lambda v: _placed(v, ctx))
    sheet.run(lambda: claim.check(ctx))
    cited = target.citations().get(claim.id, ()) or claim.spec
    return sheet.finding(
        claim,
        kind=claim.kind,
        config=ctx.config if claim.per_config else None,
        evidence=_evidence(ctx),
        spec="; ".join(map(str, cited)),
    )


def judge_artifact(artifact: Artifact, claim: Claim) -> Finding:
    """Judge a claim on an artifact or a live object, by what it says of subjects of that type."""
    predicate: Predicate = claim.predicates[type(artifact.subject)]
    sheet = Sheet(place=lambda v: _concealed(v, artifact.conceal))
    sheet.run(lambda: predicate(artifact.subject, sheet.ledger))
    return finding_of(artifact, claim, sheet)


def finding_of(artifact: Artifact, claim: Claim, sheet: Sheet) -> Finding:
    """The finding of a claim that was judged on an artifact into `sheet`, in one piece or in many.

    An artifact belongs to no pipeline: where no library demands the claim, the default pipeline's demand is cited.
    """
    cited = claim.spec or pipeline().citations().get(claim.id, ())
    made = sheet.finding(
        claim,
        kind=artifact.kind,
        config=artifact.config,
        evidence=[_tidied_evidence(e) for e in artifact.evidence()],
        spec="; ".join(map(str, cited)),
    )
    return msgspec.structs.replace(made, note=tidy(artifact.conceal(made.note)))


def judge_all(artifact: Artifact, boundary: str | None = None) -> list[Finding]:
    """A finding for each claim that has a word to say on such an artifact, in the claims' order."""
    return [judge_artifact(artifact, c) for c in claims_on(type(artifact.subject), boundary)]


def audit(
    target: Target,
    chosen: Iterable[Claim],
    configs: Sequence[str],
    seed: int = 0,
    progress: Progress | None = None,
    *,
    judges: Judges | None = None,
) -> list[Finding]:
    """Judge each claim once, or once per config where it is about one. Order is that of `chosen`.

    judges: who judges what is to be judged, and in which processes; by default it is judged here, one after the other.
    """
    asked = [(claim, config) for claim in chosen for config in (configs if claim.per_config else configs[:1])]
    return (judges or one_by_one)(target, asked, seed, progress)


def one_by_one(target: Target, asked: Sequence[Asked], seed: int, progress: Progress | None) -> list[Finding]:
    """Judge here, in order."""
    findings = []
    for claim, config in asked:
        if progress:
            progress(claim, config if claim.per_config else None)
        findings.append(judge(target, claim, config, seed))
    return findings


def _placed(violation: Violation, ctx: Context) -> Violation:
    """Fill in the place from the surface asked last, if the check named none."""
    binding = ctx.target.bindings().get(ctx.last_surface)
    if violation.where is not None or binding is None or binding.where is None:
        return violation
    return msgspec.structs.replace(violation, where=binding.where)


def _concealed(v: Violation, conceal: Callable[[Any], Any]) -> Violation:
    if conceal is same:
        return v
    fields = {n: conceal(getattr(v, n)) for n in ("message", "subject", "expected", "actual", "counterexample")}
    return msgspec.structs.replace(v, **fields)


def _tidied(v: Violation) -> Violation:
    return Violation(
        tidy(v.message), tidy(v.subject), tidy(v.expected), tidy(v.actual), tidy(v.counterexample), v.where
    )


def _evidence(ctx: Context) -> list[Evidence]:
    """The surfaces that were asked, with the function behind each, then what the check noted."""
    bindings = ctx.target.bindings()
    asked = []
    for name, calls in sorted(ctx.calls.items()):
        b = bindings.get(name)
        asked.append(
            Evidence(
                kind="call",
                surface=name,
                calls=calls,
                path=b.path if b else "",
                line=b.line if b else 0,
                symbol=b.symbol if b else "",
                digest=b.digest if b else "",
            )
        )
    return [*asked, *(_tidied_evidence(e) for e in ctx.notes)]


def _tidied_evidence(e: Evidence) -> Evidence:
    return Evidence(e.kind, e.path, e.line, e.symbol, e.key, e.surface, e.calls, e.digest, tidy(e.value))
