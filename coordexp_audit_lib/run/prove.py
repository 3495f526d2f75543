"""Prove the detection power: every check must fail on a pipeline that is broken on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from coordexp_audit_lib.core.claim import Claim, declared
from coordexp_audit_lib.core.fault import Fault, Spoil
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import Artifact, judge, judge_artifact
from coordexp_audit_lib.targets.reference import Memory, ReferenceTarget

SCHEMA = "coordexp-audit-faults/1"


class Detection(msgspec.Struct, frozen=True):
    """What the checks said of one fault.

    caught, missed: ids out of `expected`. places: where the first violation of each that caught it is. example: the
    first violation's text.
    """

    fault: str
    surface: str
    summary: str
    expected: list[str]
    caught: list[str]
    missed: dict[str, str]
    places: dict[str, str]
    example: str


class Proof(msgspec.Struct, frozen=True):
    """All detections, with what spoils the proof.

    unsound: checks that do not hold on the unbroken reference (their alarm proves nothing), with their status.
    unproven: checks for which no fault is declared. artifacts: the same of faults of artifacts, which no target makes.
    """

    schema: str
    detections: list[Detection]
    unsound: dict[str, str]
    unproven: list[str]
    artifacts: list[Detection] = []

    @property
    def complete(self) -> bool:
        missed = any(d.missed for d in (*self.detections, *self.artifacts))
        return not (self.unsound or self.unproven or missed) and bool(self.detections)


def prove(
    checks: Iterable[Claim],
    broken: Iterable[Fault],
    config: str,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
    *,
    memory: Memory | None = None,
) -> Proof:
    """Judge every check on the reference as it is, then each fault's checks on the reference with that fault.

    memory: what the unbroken reference answered before, and where its answers are kept.
    """
    by_id = {c.id: c for c in checks}
    memory = {} if memory is None else memory
    honest = ReferenceTarget(memory=memory)
    unsound = {}
    for check in by_id.values():
        finding = judge(honest, check, config, seed)
        if finding.status != "held":
            unsound[check.id] = _why(finding)
        if progress:
            progress(check.id)
    detections = []
    for fault in broken:
        detections.append(_detect(fault, by_id, config, seed, memory))
        if progress:
            progress(fault.id)
    proven = {name for d in detections for name in d.caught}
    return Proof(SCHEMA, detections, unsound, [name for name in by_id if name not in proven])


def prove_artifacts(broken: Iterable[Spoil]) -> list[Detection]:
    """Judge each fault's claim on a sound artifact, where it must hold, and on the broken one."""
    by_id = {c.id: c for c in declared()}
    made = []
    for one in broken:
        sound = one.sound()
        good = judge_artifact(Artifact(sound), by_id[one.caught_by])
        bad = judge_artifact(Artifact(one.apply(sound)), by_id[one.caught_by])
        why = f"sound: {_why(good)}" if good.status != "held" else "" if bad.status == "violated" else _why(bad)
        caught, missed = ([], {one.caught_by: why}) if why else ([one.caught_by], {})
        example = bad.violations[0].message if bad.violations else ""
        made.append(Detection(one.id, type(sound).__name__, one.summary, [one.caught_by], caught, missed, {}, example))
    return made


def _detect(fault: Fault, by_id: dict[str, Claim], config: str, seed: int, memory: Memory) -> Detection:
    caught, missed, places, example = [], {}, {}, ""
    for name in fault.caught_by:
        if name not in by_id:
            missed[name] = "no such check"
            continue
        finding = judge(ReferenceTarget(fault, memory), by_id[name], config, seed)
        if finding.status == "violated":
            caught.append(name)
            where = finding.violations[0].where
            places[name] = f"{where.path}:{where.line}" if where else ""
            example = example or finding.violations[0].message
        else:
            missed[name] = _why(finding)
    return Detection(
        fault.id, fault.surface.name, fault.summary, list(fault.caught_by), caught, missed, places, example
    )


def _why(finding: Finding) -> str:
    if finding.status == "violated":
        return f"violated: {finding.violations[0].message}"
    return f"{finding.status}: {finding.note}" if finding.note else finding.status


def rows(proof: Proof) -> list[tuple[Any, ...]]:
    """Table rows: fault, surface or artifact, expected, caught, missed."""
    return [
        (
            d.fault,
            d.surface,
            len(d.expected),
            len(d.caught),
            ", ".join(f"{k} ({v})" for k, v in d.missed.items()) or "-",
        )
        for d in (*proof.detections, *proof.artifacts)
    ]
