"""Removed or moved knobs are refused by name, with their replacement where there is one.

A config of an older run still loads, its knob does nothing, and the run is reported under a setting that it did not
have.

Example: `stage2_ab.schedule.pattern: [A, B]` must be refused, naming `b_ratio`; ignored, the share of Channel-B steps
is the default."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.config.cases.bench import Bench
from coordexp_audit_lib.boundaries.config.cases.variations import removed_knobs
from coordexp_audit_lib.boundaries.config.faults import is_null, overlooked, overlooks
from coordexp_audit_lib.boundaries.config.predicates.messages import names_any, said
from coordexp_audit_lib.boundaries.config.predicates.rules import Resolved, by_keys
from coordexp_audit_lib.boundaries.config.surfaces import LOAD, Loaded
from coordexp_audit_lib.core.claim import Context, claim, provokes
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.surface import Answer


@claim(
    severity="P0",
    kind="B",
    per_config=True,
    remedy="Refuse the knob at load, before anything reads it, and name what took its place.",
)
def removed_key_rejected(ctx: Context) -> Iterator[Problem]:
    bench = Bench(ctx)
    for path, old, replacement, start in removed_knobs(bench):
        for value in (old, None):
            answer = bench.load_with({**start, path: value})
            ctx.judged()
            if flaw := flaw_of(answer, path, replacement):
                wanted = f"refused, naming {replacement or 'the knob'}"
                yield Problem(f"The removed knob {path} {flaw}.", path, wanted, said(answer), {path: value})


removed_key_rejected.on(Resolved, by_keys("config.removed_key_rejected"))


def flaw_of(answer: Answer[Loaded], path: str, replacement: str) -> str:
    """What is wrong with the answer to a removed knob; empty if nothing is."""
    if answer.refusal is None:
        return "is accepted in silence"
    error, knob = answer.refusal.message, path.rpartition(".")[2]
    if knob not in error:
        return "is refused, but the error does not name it"
    if replacement and not names_any(error.replace(path, " "), replacement):
        return f"is refused, but the error does not name {replacement} instead"
    return ""


@provokes(LOAD)
def asked(ctx: Context) -> Iterator[tuple[str, Answer[Loaded]]]:
    bench = Bench(ctx)
    for path, old, _, start in removed_knobs(bench):
        yield path, bench.load_with({**start, path: old})


overlooked(
    removed_key_rejected,
    legacy_tolerated=(r"was (removed|moved)", "removed knobs are accepted and ignored"),
    moved_tolerated=(r"was moved", "knobs that moved are accepted at their old place and ignored"),
)
fault(removed_key_rejected, "removed_nulls_tolerated", LOAD, "removed knobs that are set to null are ignored")(
    overlooks(r"was (removed|moved)", is_null(r"[\w.]+"))
)
