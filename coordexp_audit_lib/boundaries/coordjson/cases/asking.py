"""How the texts are asked whose salvage is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from coordexp_audit_lib.boundaries.coordjson.cases.texts import Case, demanded, salvage_cases
from coordexp_audit_lib.boundaries.coordjson.predicates.tally import Tally
from coordexp_audit_lib.boundaries.coordjson.surfaces import PARSE, Parsed, ParseRequest
from coordexp_audit_lib.core.claim import Context
from coordexp_audit_lib.core.finding import Severity
from coordexp_audit_lib.core.problem import Problem

# Only the evaluation takes such a coordinate for one: to the trainer it is no coordinate token.
SEVERITIES: dict[str, Severity] = {"coordinate spelling": "P1"}


def salvaged(ctx: Context, judge: Callable[[Case, Parsed], Iterable[Problem]], each: bool = True) -> Iterator[Problem]:
    """Ask every text of which it is known what salvage must make; counts each kept record, or each text."""
    tally = Tally()
    for case in demanded(salvage_cases(), ctx.contract):
        parsed = ctx.value(PARSE, ParseRequest(case.text, "salvage", case.order))
        ctx.judged(len(parsed.records) if each else 1)
        for problem in judge(case, parsed):
            tally.add(case.kind, problem.message, case.text, case.order)
    yield from tally.problems(ctx.where(PARSE), severities=SEVERITIES)
