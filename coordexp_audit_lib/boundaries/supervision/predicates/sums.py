"""An objective of several modules: each adds its loss once, times its weight, and what is logged adds up to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from coordexp_audit_lib.boundaries.supervision.surfaces.continuation import Module, Objective
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem

TOLERANCE = 1e-4


def additive(modules: Sequence[Module], answer: Objective, ledger: Ledger) -> Iterator[Problem]:
    """Counts modules that are on."""
    on = [m for m in modules if m.on]
    whole = sum(m.weight * sum(m.terms) for m in on)
    for module in on:
        ledger.judged()
        own = sum(m.weight * sum(m.terms) for m in on if m.name == module.name)
        found = answer.modules.get(module.name, 0.0)
        if _apart(found, own):
            yield Problem(f"{module.name} adds another amount to the objective", module.name, own, found)
    if _apart(answer.total, whole):
        yield Problem("the total is not the weighted sum of the modules", "total", whole, answer.total)
    logged = sum(answer.atoms.values())
    if _apart(logged, answer.total):
        shown = dict(sorted(answer.atoms.items()))
        yield Problem("what is logged does not add up to the total", "atoms", answer.total, logged, shown)


def _apart(found: float, wanted: float) -> bool:
    return not abs(found - wanted) <= TOLERANCE * max(1.0, abs(wanted))
