"""From a finding for each claim and config to what a reader is told: one root once, and what matters first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.finding import AUTHORITIES, REACHES, SEVERITIES, STATUSES, Finding, Like, Violation

NEAR = 2  # lines within which two places are one


def ranked(findings: Iterable[Finding]) -> list[Finding]:
    """Findings of several configs as one list: alike ones joined, names of one root counted once, by weight.

    A violation is counted with its root only where that one weighs at least as much and is to be mended in the same
    lines: a reached one is never hidden behind a latent one, nor a heavy one behind a light one, nor one mend behind
    another. First what is violated and counts, by effect, reach and
    authority; then what could not be judged, what is latent, and what holds. Equals keep their order.
    """
    joined = _joined(findings)
    roots = {c.id: c.root for c in claims() if c.root}
    violated = [f for f in joined if f.status == "violated"]
    heaviest = {(f.invariant, c): _burden(f) for f in sorted(violated, key=_burden, reverse=True) for c in _scope(f)}
    placed: dict[str, list[Finding]] = {}
    for f in violated:
        placed.setdefault(f.invariant, []).append(f)
    told = []
    for f in joined:
        root = roots.get(f.invariant, "")
        of_root = [heaviest[root, c] for c in (*_scope(f), None) if (root, c) in heaviest]
        shared = f.status == "violated" and of_root and min(of_root) <= _burden(f) and _one_mend(f, placed[root])
        told.append(msgspec.structs.replace(f, same_as=root) if shared else f)
    names = [(f.same_as, f.invariant) for f in told if f.same_as]
    told = [_named(f, tuple(sorted({n for root, n in names if root == f.invariant}))) for f in told]
    return sorted(told, key=weight)


def weight(f: Finding) -> tuple[int, int, int, int]:
    """Sort key: lower is to be read first."""
    if f.status == "violated":
        group = 5 if f.same_as else 3 if f.latent or f.accepted else 0
        reach = REACHES.index(f.reach or "unknown")
        return (group, SEVERITIES.index(f.severity), reach, AUTHORITIES.index(f.authority))
    group = {"error": 1, "unbound": 2, "held": 4}[f.status]
    return (group, SEVERITIES.index(f.severity), 0, AUTHORITIES.index(f.authority))


def _one_mend(f: Finding, roots: Sequence[Finding]) -> bool:
    """Whether an example of a violation has its place where one of its root has, or nobody knows."""
    mine, theirs = ({v.where for one in of for v in one.violations if v.where} for of in ([f], roots))
    near = (abs(a.line - b.line) <= NEAR for a in mine for b in theirs if a.path == b.path)
    return not mine or not theirs or any(near)


def _burden(f: Finding) -> tuple[bool, int]:
    """How little a violation weighs: reached before latent, then by severity."""
    return f.latent, SEVERITIES.index(f.severity)


def _scope(f: Finding) -> tuple[str | None, ...]:
    return f.configs or (f.config,)


def _named(f: Finding, also: tuple[str, ...]) -> Finding:
    return msgspec.structs.replace(f, also=also) if also and f.status == "violated" else f


def _joined(findings: Iterable[Finding]) -> list[Finding]:
    """One finding for all configs in which a claim came out alike, with the kinds and examples of all."""
    kept: dict[tuple[Any, ...], Finding] = {}
    for f in findings:
        alike = (f.severity, f.latent, f.accepted) if f.status == "violated" else (f.note,)
        key = (f.invariant, f.config is None, f.status, *alike)
        kept[key] = _both(kept[key], f) if key in kept else f
    return list(kept.values())


def _both(before: Finding, now: Finding) -> Finding:
    reach = min(before.reach or "unknown", now.reach or "unknown", key=REACHES.index) if before.reach else None
    configs = tuple(dict.fromkeys((*before.configs, *now.configs)))
    kinds = _kinds(before)
    for key, k in _kinds(now).items():
        kinds[key] = _alike(kinds[key], k) if key in kinds else k
    # What another of the joined configs reaches stands there as its own.
    kinds = {key: k for key, k in kinds.items() if not (k.reach == "another config" and {*k.reached_in} & {*configs})}
    examples = _examples(before, now)
    return msgspec.structs.replace(
        before,
        configs=configs,
        checked=max(before.checked, now.checked),
        reach=reach,
        reach_by=examples[0].reach_by if examples else "",
        kinds=tuple(kinds.values()),
        violations=examples,
        violation_count=max(before.violation_count, now.violation_count, sum(k.count for k in kinds.values())),
        seconds=round(before.seconds + now.seconds, 3),
    )


def _examples(before: Finding, now: Finding) -> list[Violation]:
    """The examples of both; of each kind and weight those come first that both have: they are true of all configs."""
    named = {(k.kind, k.severity, k.reach, s) for k in now.kinds for s in k.subjects}
    classes: dict[tuple[Any, ...], list[Violation]] = {}
    for v in before.violations:
        classes.setdefault((v.kind, v.severity, v.reach), []).append(v)
    for kind, of_kind in classes.items():
        of_kind.sort(key=lambda v, kind=kind: (*kind, v.subject) not in named)  # type: ignore[misc]
    first = [classes[v.kind, v.severity, v.reach].pop(0) for v in before.violations]
    seen = {(v.kind, v.where) for v in before.violations}
    return [*first, *(v for v in now.violations if (v.kind, v.where) not in seen)]


def _kinds(f: Finding) -> dict[tuple[Any, ...], Like]:
    return {(k.kind or k.message, k.severity, k.authority, k.reach, k.reached_in): k for k in f.kinds}


def _alike(before: Like, now: Like) -> Like:
    subjects = tuple(dict.fromkeys((*before.subjects, *now.subjects)))[: max(len(before.subjects), len(now.subjects))]
    return msgspec.structs.replace(before, count=max(before.count, now.count), subjects=subjects)


def counted(findings: Sequence[Finding]) -> dict[str, Any]:
    """How many findings have each status, in all and by severity. Of the violated only those that count; beside them
    `advice` (violated by our own measure only, part of `violated`), `latent` (no audited config leads there), `same`
    (counted under another name) and `accepted` (by a baseline)."""
    total: dict[str, int] = dict.fromkeys((*STATUSES, "advice", "latent", "same", "accepted"), 0)
    by_severity: dict[str, dict[str, int]] = {s: dict.fromkeys(STATUSES, 0) for s in SEVERITIES}
    for f in findings:
        if f.status == "violated" and not f.counts:
            total["same" if f.same_as else "latent" if f.latent else "accepted"] += 1
            continue
        total[f.status] += 1
        total["advice"] += f.advice
        by_severity[f.severity][f.status] += 1
    return {**total, "by_severity": by_severity}


def counts(f: Mapping[str, Any]) -> bool:
    """`Finding.counts` of a document's finding."""
    return f["status"] == "violated" and f.get("reach") != "none" and not f.get("same_as") and not f.get("accepted")


def is_latent(f: Mapping[str, Any]) -> bool:
    """Whether a document's finding is violated only where no audited config leads, and under its own name."""
    return f["status"] == "violated" and f.get("reach") == "none" and not f.get("same_as")
