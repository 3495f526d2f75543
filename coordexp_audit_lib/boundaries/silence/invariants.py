"""12: failures must be seen."""

from __future__ import annotations

import re
from collections.abc import Iterator

from coordexp_audit_lib.boundaries.silence.contract import SUPPRESSIONS, ScanRequest, lacks
from coordexp_audit_lib.core.claim import Context, invariant, provocations
from coordexp_audit_lib.core.errors import SurfaceFailed, SurfaceUnbound
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Violation

SPEC = "openspec/specs/silent-failure-policy"


@invariant(
    "silence.no_blanket_suppression",
    boundary="silence",
    severity="P1",
    kind="S",
    claim="No core path swallows every exception: no blanket `except` that does nothing, no `suppress(Exception)`.",
    remedy="catch the exceptions that are expected by name, and log or re-raise the rest",
    spec=SPEC,
)
def no_blanket_suppression(ctx: Context) -> Iterator[Violation]:
    scan = ctx.value(SUPPRESSIONS, ScanRequest())
    ctx.judged(scan.files)
    ctx.fact("files read", scan.files)
    ctx.fact("exception handlers read", scan.handlers)
    for s in scan.suppressions:
        where = Where(s.path, s.line, s.symbol)
        yield Violation(f"every exception vanishes here: {s.form}", subject=s.symbol or s.path, where=where)
    if scan.unparsed:
        raise SurfaceFailed(
            f"{len(scan.unparsed)} files do not parse", where=scan.unparsed[0], remedy="mend them first"
        )


@invariant(
    "silence.errors_actionable",
    boundary="silence",
    severity="P2",
    kind="B",
    claim="Every error that the audit provoked names what was wrong, where, and what to do.",
    remedy="name the key path, field, index or value, and say what is demanded",
    spec=SPEC,
)
def errors_actionable(ctx: Context) -> Iterator[Violation]:
    """Ask each boundary's provocations again; those that the target does not answer are left out and told."""
    silent, told = [], set()
    for provocation in provocations():
        try:
            answers = list(provocation.ask(ctx))
        except SurfaceUnbound:
            silent.append(provocation.surface.name)
            continue
        for label, answer in answers:
            if answer.refusal is None:
                continue  # that it should have been refused is the boundary's own claim
            ctx.judged()
            missing = lacks(answer.refusal.message)
            kind = (provocation.surface.name, re.sub(r"\d+", "0", answer.refusal.message))
            if missing and kind not in told:  # one violation for each wording
                told.add(kind)
                message = f"an error names no {' and no '.join(m.removeprefix('a ') for m in missing)}"
                shown = f"{answer.refusal.type}: {answer.refusal.message}"
                yield Violation(message, subject=f"{provocation.surface.name}: {label}", actual=shown)
    ctx.fact("surfaces that provoke errors and are not answered", sorted(set(silent)))
