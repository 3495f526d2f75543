"""The objective is the sum of its modules, each once and times its weight, and what is logged of it adds up to it.

A module that enters twice, or with the weight of another, trains another objective than the config says, and a log
whose parts do not add up hides it: the curve of a term that has no weight looks like one that has.

Example: cross-entropy 2.0 with weight 1 and geometry 0.5 with weight 4 make 4.0, of which 2.0 each is logged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.predicates import sums
from coordexp_audit_lib.boundaries.supervision.surfaces.continuation import (
    OBJECTIVE,
    Module,
    Objective,
    ObjectiveRequest,
)
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.fault import Honest, asked, fault
from coordexp_audit_lib.core.finding import Violation

TERMS = {2: [1.25, 0.5], 1: [0.75]}


@claim(severity="P0", kind="B", remedy="Add each module's loss once, times its own weight, and log those products.")
def objective_additive(ctx: Context) -> Iterator[Violation]:
    known: dict[str, int] = ctx.contract["supervision.modules"]
    if not known:
        raise SurfaceUnbound("the pipeline has no modules of an objective", where=OBJECTIVE.name)
    for name, modules in _cases(known):
        answer = ctx.ask(OBJECTIVE, ObjectiveRequest(modules))
        if answer.content is None and len({m.name for m in modules}) < len(modules):
            ctx.judged()  # a module that is named twice may be refused
            continue
        for p in sums.additive(modules, answer.value, ctx):
            yield p.violation(name, {"modules": [[m.name, m.weight, m.terms] for m in modules if m.on]})


def _cases(known: dict[str, int]) -> Iterator[tuple[str, list[Module]]]:
    every = [Module(name, 1.0 + 0.5 * i, [t + i for t in TERMS[n]]) for i, (name, n) in enumerate(known.items())]
    yield "every module", every
    yield "in the other order", every[::-1]
    yield "one of weight 0", [replace(m, weight=0.0) if i == 1 else m for i, m in enumerate(every)]
    yield "one that is off", [replace(m, on=i != 1) for i, m in enumerate(every)]
    for module in every:
        yield f"{module.name} alone", [module]
    yield "one that is named twice", [every[0], replace(every[0], weight=3.0)]


def _weighed(modules: Sequence[Module]) -> list[Module]:
    """Each module with the weight of the first."""
    return [replace(m, weight=modules[0].weight) for m in modules]


fault(objective_additive, "weight_of_the_first", OBJECTIVE, "every module has the weight of the first")(
    asked(modules=lambda request: _weighed(request.modules))
)
fault(objective_additive, "off_is_on", OBJECTIVE, "a module that is off is added all the same")(
    asked(modules=lambda request: [replace(m, on=True) for m in request.modules])
)


@fault(objective_additive, "atoms_unweighted", OBJECTIVE, "what is logged has no weights")
def atoms_unweighted(request: ObjectiveRequest, honest: Honest) -> Objective:
    made: Any = honest(request)
    plain: Any = honest(replace(request, modules=[replace(m, weight=1.0) for m in request.modules]))
    return Objective(made.total, made.modules, plain.atoms)
