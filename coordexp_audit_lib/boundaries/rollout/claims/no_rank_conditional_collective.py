"""No collective stands in a branch that only some ranks take.

A collective waits for every rank. One that some ranks never reach hangs the run at the first step whose ranks differ,
or is answered by another rank's next collective: then tensors of two kinds are summed, and the gradient or the metric
is of neither.

Example: `if rank == 0: dist.barrier()` waits for ever; `if rank == 0: save()` between two barriers does not."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

import msgspec

from coordexp_audit_lib.boundaries.rollout import surfaces as s
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.fault import Honest, answered, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.source import collectives

WAYS = {
    "branch": "some ranks do not enter the branch",
    "return": "some ranks return",
    "skip": "some ranks leave the round of the loop",
}


@claim(
    severity="P1",
    kind="S",
    remedy="Let every rank come to the collective: reduce the condition over ranks first, and do rank 0's own work "
    "between two collectives instead of around one.",
)
def no_rank_conditional_collective(ctx: Context) -> Iterator[Problem]:
    found = ctx.value(s.COLLECTIVES, collectives.ScanRequest(tuple(ctx.contract.get("rollout.source_roots", ("",)))))
    ctx.judged(len(found.collectives))
    ctx.fact("files read", found.files)
    alone = [c for c in found.collectives if c.kind == "alone"]
    if ctx.target.declaration() is not None:  # whether what is gathered decides alike on all ranks is not known there
        sure = [c for c in alone if any(map(collectives.says_rank, c.condition))]
        ctx.fact("not judged: conditions on what is gathered", len(alone) - len(sure))
        alone = sure
    for c in alone:
        way, names = WAYS.get(c.how, c.how), ", ".join(c.condition)
        message = f"{c.operation} is not reached by every rank: {way} at line {c.line_of_condition}, on {names}"
        where = Where(c.path, c.line, c.symbol)
        yield Problem(message, c.symbol, "reached by every rank", msgspec.to_builtins(c), where=where)


PLANTED = {
    "main_only": (
        "only rank 0 comes to the barrier",
        "def save(self):\n    if self.is_world_process_zero():\n        self.write()\n        dist.barrier()\n",
    ),
    "early_return": (
        "all ranks but the first return before the broadcast",
        "def load(rank, box):\n    if rank != 0:\n        return None\n    dist.broadcast_object_list(box, src=0)\n",
    ),
    "through_helper": (
        "a method that reduces is called by the main process only",
        "class T:\n    def total(self, x):\n        dist.all_reduce(x)\n\n    def log(self, x):\n"
        "        first = self.accelerator.is_main_process\n        if first:\n            self.total(x)\n",
    ),
    "own_data": (
        "whether keys are gathered depends on the keys that are gathered",
        "def sync(self, cache):\n    keys = sorted(self.metrics)\n    new = set(keys) - cache\n    if not new:\n"
        "        return\n    every = [None] * dist.get_world_size()\n    dist.all_gather_object(every, keys)\n",
    ),
}


def _planted(source: str) -> Callable[[collectives.ScanRequest, Honest], collectives.Scan]:
    found = collectives.scan_module(ast.parse(source), "src/planted.py")
    return answered(collectives=lambda made: [*made.collectives, *found], files=lambda made: made.files + 1)


for _name, (_summary, _source) in PLANTED.items():
    fault(no_rank_conditional_collective, f"collective_{_name}", s.COLLECTIVES, _summary)(_planted(_source))
