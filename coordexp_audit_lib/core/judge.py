"""The one judge: a claim on a subject, be it a target, a batch, a data file, a log, a run's folder, a release or a live
object in a guard. It counts what the predicate says it judged; a predicate that raises is one `error` finding."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.claim import Claim, Context, Predicate, claims_on
from coordexp_audit_lib.core.evidence import Evidence
from coordexp_audit_lib.core.finding import Authority, Finding, Kind, Violation, tidy
from coordexp_audit_lib.core.localise import Trail
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.sheet import Sheet
from coordexp_audit_lib.core.target import Target

Progress = Callable[[Claim, str | None], None]
Asked = tuple[Claim, str]  # the config is any where the claim is about none
Judges = Callable[[Target, Sequence[Asked], int, Progress | None], list[Finding]]


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


def judge(target: Target, claim: Claim, config: str, seed: int = 0) -> Finding:
    """Judge a claim on a target. Never raises for what the target does: that becomes the finding's status.

    A claim that is not about a config sees none, so that its verdict is the same whichever configs are audited.
    """
    ctx = Context(target, config if claim.per_config else "", seed, claim.id)
    cited, lost = _cited(target, claim, ctx.config)
    authority = _authority(claim, cited)
    trail = Trail(ctx)
    beyond = target.beyond().get(claim.id, ())
    sheet = Sheet(
        claim, ctx, authority=authority, finish=lambda v: _finished(trail.placed(v, claim.id), ctx, claim, beyond)
    )
    sheet.run(lambda: trail.followed(claim.check(ctx)))
    made = sheet.finding(
        kind=claim.kind,
        config=ctx.config or None,
        evidence=_evidence(ctx),
        spec="; ".join(map(str, cited)) or _permitted(target, claim),
    )
    if made.status == "violated" and made.authority == "practice" and cited:
        why = next((w for p, w in beyond if made.violations and re.search(p, _text(made.violations[0]))), "")
        text = f"our practice; what is cited does not demand it{f' ({why})' if why else ''}: {made.spec}"
        made = msgspec.structs.replace(made, spec=text)
    if not lost:
        return made
    said = f"an error of the audit: the tree does not hold what it cites: {'; '.join(map(str, lost))}"
    return msgspec.structs.replace(made, note=tidy("; ".join(n for n in (made.note, said) if n)))


def _cited(target: Target, claim: Claim, config: str) -> tuple[tuple[Citation, ...], list[Citation]]:
    """Where the claim is demanded: by the target's pipeline, else by a library below. What a tree was searched for
    and does not hold is no citation; if it was read at that very commit, it is an error of ours, and comes second."""
    cited = [c for c in target.citations().get(claim.id, ()) if not config or c.covers(config)]
    gone, commit = [c for c in cited if target.holds(c) is False], target.info().commit
    ours = [c for c in gone if commit.startswith(c.commit)]
    kept = tuple(c for c in cited if c not in gone)
    # Where its own words permit it, what a library says to its callers is no demand on the project either.
    return kept or (() if claim.id in target.permitted() else claim.spec), ours


def _authority(claim: Claim, cited: tuple[Citation, ...]) -> Authority:
    """Whose demand the claim is, by what is cited for it."""
    if not cited:
        return "practice"
    return "upstream" if cited == claim.spec else "spec"


def _permitted(target: Target, claim: Claim) -> str:
    why = target.permitted().get(claim.id, "")
    return f"our practice; theirs permits it: {why}" if why else "our practice"


def _text(v: Violation) -> str:
    return f"{v.subject}\n{v.message}"


def _finished(violation: Violation, ctx: Context, claim: Claim, beyond: Sequence[tuple[str, str]]) -> Violation:
    """Say whether an audited config leads there, unless the check said so, and whether it goes beyond what is cited."""
    if violation.authority is None and any(re.search(pattern, _text(violation)) for pattern, _ in beyond):
        violation = msgspec.structs.replace(violation, authority="practice")
    if violation.reach is not None:
        return violation
    reach, by, configs = ctx.target.reach(ctx.config, claim.id, violation.where, violation.subject)
    return msgspec.structs.replace(violation, reach=reach, reach_by=by, reached_in=configs)


def judge_artifact(artifact: Artifact, claim: Claim, finish: Callable[[Violation], Violation] | None = None) -> Finding:
    """Judge a claim on an artifact or a live object, by what it says of subjects of that type. finish: sees each
    violation, in the order in which they were found."""
    predicate: Predicate = claim.predicates[type(artifact.subject)]
    sheet = sheet_for(claim, finish)
    sheet.run(lambda: predicate(artifact.subject, sheet.ledger))
    return finding_of(artifact, sheet)


def sheet_for(claim: Claim, finish: Callable[[Violation], Violation] | None = None) -> Sheet:
    """A sheet for a claim that is judged on an artifact. What is wrong in it is reached: it was written, or is used."""
    authority = _authority(claim, _cited_for_artifacts(claim))
    return Sheet(claim, authority=authority, reach="this config", finish=finish)


def _cited_for_artifacts(claim: Claim) -> tuple[Citation, ...]:
    """An artifact belongs to no pipeline: where no library demands the claim, the default pipeline does."""
    return claim.spec or pipeline().citations().get(claim.id, ())


def finding_of(artifact: Artifact, sheet: Sheet) -> Finding:
    """The finding of a claim that was judged on an artifact into `sheet`, in one piece or in many."""
    made = sheet.finding(
        kind=artifact.kind,
        config=artifact.config,
        evidence=[_tidied_evidence(e) for e in artifact.evidence()],
        spec="; ".join(map(str, _cited_for_artifacts(sheet.claim))),
    )
    shown = [_concealed(v, artifact.conceal) for v in made.violations]
    kinds = tuple(
        msgspec.structs.replace(
            k, message=artifact.conceal(k.message), subjects=tuple(map(artifact.conceal, k.subjects))
        )
        for k in made.kinds
    )
    return msgspec.structs.replace(made, violations=shown, kinds=kinds, note=tidy(artifact.conceal(made.note)))


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
    target.audited = tuple(configs)
    named = configs or ("",)  # a target may have no config
    asked = [(claim, config) for claim in chosen for config in (named if claim.per_config else named[:1])]
    return (judges or one_by_one)(target, asked, seed, progress)


def one_by_one(target: Target, asked: Sequence[Asked], seed: int, progress: Progress | None) -> list[Finding]:
    """Judge here, in order."""
    findings = []
    for claim, config in asked:
        if progress:
            progress(claim, config if claim.per_config else None)
        findings.append(judge(target, claim, config, seed))
    return findings


def _concealed(v: Violation, conceal: Callable[[Any], Any]) -> Violation:
    if conceal is same:
        return v
    fields = {n: conceal(getattr(v, n)) for n in ("message", "subject", "kind", "expected", "actual", "counterexample")}
    return msgspec.structs.replace(v, **fields)


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
    used = [Evidence("stand-in", symbol=s.name, value=s.what) for _, s in sorted(ctx.stand_ins.items())]
    return [*asked, *(_tidied_evidence(e) for e in (*used, *ctx.notes))]


def _tidied_evidence(e: Evidence) -> Evidence:
    return Evidence(e.kind, e.path, e.line, e.symbol, e.key, e.surface, e.calls, e.digest, tidy(e.value))
