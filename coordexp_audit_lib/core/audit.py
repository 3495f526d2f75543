"""Run invariants on a target and keep what they say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from coordexp_audit_lib.core.errors import AuditError, SurfaceUnbound, one_line
from coordexp_audit_lib.core.evidence import Evidence
from coordexp_audit_lib.core.finding import MAX_EXAMPLES, Finding, Status, Violation, tidy
from coordexp_audit_lib.core.invariant import Context, Invariant
from coordexp_audit_lib.core.target import Target

Progress = Callable[[Invariant, str | None], None]


def judge(target: Target, inv: Invariant, config: str, seed: int = 0) -> Finding:
    """Run one invariant. Never raises for what the target does: that becomes the finding's status.

    A claim that is not about a config sees none, so that its verdict is the same whichever configs are audited.
    """
    ctx = Context(target, config if inv.per_config else "", seed, inv.id)
    found: list[Violation] = []
    note, status, started = "", "held", time.perf_counter()
    try:
        for violation in inv.check(ctx):
            found.append(_placed(violation, ctx))
    except SurfaceUnbound as error:
        status, note = "unbound", str(error)
    except AuditError as error:
        status, note = "error", str(error)
    except Exception as error:  # a check that crashed is its own kind of finding, never a pass
        status, note = "error", one_line(f"the check itself failed: {type(error).__name__}: {error}")
    if found:
        status = "violated"  # what was found stands, also where the check could not be carried to its end
    elif status == "held":
        status, note = _verdict(ctx)
    verdict = (_as_status(status), note)
    return _finding(ctx, inv, verdict, found, time.perf_counter() - started)


def _verdict(ctx: Context) -> tuple[str, str]:
    if ctx.checked == 0:
        return "error", "no case was judged, so nothing is known. Cure: give the check inputs"
    return "held", ""


def _placed(violation: Violation, ctx: Context) -> Violation:
    """Fill in the place from the surface asked last, if the check named none."""
    binding = ctx.target.bindings().get(ctx.last_surface)
    if violation.where is not None or binding is None or binding.where is None:
        return violation
    fields = {name: getattr(violation, name) for name in violation.__struct_fields__}
    return Violation(**{**fields, "where": binding.where})


def _finding(
    ctx: Context, inv: Invariant, verdict: tuple[Status, str], found: list[Violation], seconds: float
) -> Finding:
    examples = sorted(found, key=Violation.size)[:MAX_EXAMPLES]
    return Finding(
        invariant=inv.id,
        boundary=inv.boundary,
        severity=inv.severity,
        kind=inv.kind,
        status=verdict[0],
        checked=ctx.checked,
        config=ctx.config if inv.per_config else None,
        claim=inv.claim,
        violations=[_tidied(v) for v in examples],
        violation_count=len(found),
        evidence=_evidence(ctx),
        remedy=inv.remedy,
        spec=inv.spec,
        note=tidy(verdict[1]),
        seconds=round(seconds, 3),
    )


def _as_status(status: str) -> Status:
    assert status in ("held", "violated", "unbound", "error")
    return status  # type: ignore[return-value]


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


def audit(
    target: Target,
    chosen: Iterable[Invariant],
    configs: Sequence[str],
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Finding]:
    """Judge each invariant once, or once per config where its claim is about one. Order is that of declaration."""
    findings = []
    for inv in chosen:
        for config in configs if inv.per_config else configs[:1]:
            if progress:
                progress(inv, config if inv.per_config else None)
            findings.append(judge(target, inv, config, seed))
    return findings
