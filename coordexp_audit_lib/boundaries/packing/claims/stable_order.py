"""Samples keep dataset order inside a pack; the same input gives the same plan, byte for byte.

A plan that differs from run to run gives each seed another sequence of gradients, so that a run can't be repeated and
two runs can't be compared; on several ranks that plan by themselves, it makes them disagree about who trains on what.

Example: samples 4, 9 and 2 that share a pack stand in it as `[2, 4, 9]`, in every run. Only a pipeline that promises
the dataset's order (`packing.in_order` of its contract) is judged by the first half."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from coordexp_audit_lib.boundaries.packing import surfaces as s
from coordexp_audit_lib.boundaries.packing.artifact import PackedRow
from coordexp_audit_lib.boundaries.packing.cases import each_plan, of_plan
from coordexp_audit_lib.boundaries.packing.faults import replaced
from coordexp_audit_lib.boundaries.packing.predicates import plans
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.problem import Problem


@claim(
    severity="P1", kind="B", remedy="Sort each pack by dataset index after every carry-over, and break ties by index."
)
def stable_order(ctx: Context) -> Iterator[Violation]:
    in_order = bool(ctx.contract.get("packing.in_order", False))
    if not in_order:
        ctx.fact("not asked: the order inside a pack", "the pipeline promises none")
    for question, request, answer in each_plan(ctx):
        again = answer
        with ctx.case("the same input again"):
            again = ctx.ask(question, msgspec.structs.replace(request, repeat=1))
        ctx.judged(not answer.refused and bool(answer.value.packs))
        if again != answer:
            text = "the same input gives another plan"
            yield of_plan(question, request, Problem(text, expected="equal plans", actual="different"))
        if in_order and not answer.refused:
            for problem in plans.in_order(answer.value.packs):
                yield of_plan(question, request, problem)


stable_order.not_on(PackedRow, "needs the plan twice, and the samples' places in the dataset")

fault(stable_order, "by_size", s.STREAM, "packs stand largest first")(
    replaced(lambda request, made: {"packs": [sorted(p, key=lambda i: -request.lengths[i]) for p in made.packs]})
)
fault(stable_order, "unstable", s.PLAN, "the second run plans otherwise")(
    replaced(lambda request, made: {"packs": made.packs[::-1]} if request.repeat else {})
)
