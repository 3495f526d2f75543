"""Reduced over ranks, each metric is left with a sum, mean or maximum of its own values, whichever keys a rank has.

Ranks see different rollouts and so have different keys. A reduction that lays the values of one rank beside those of
another by their number, not by their key, adds a loss to a count; the log has every name, and behind some of them
another metric. What is read off such a log, a learning curve or the choice of a checkpoint, is about something else.

Example: rank 0 has `a` and `b`, rank 1 has `b` and `c`. If each appends to its own keys what it lacks, the values go
into the collective as (a, b, c) and as (b, c, a), and `a` is logged with the sum of `a` and `b`."""

from __future__ import annotations

from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.metrics import cases
from coordexp_audit_lib.boundaries.metrics import surfaces as s
from coordexp_audit_lib.boundaries.metrics.predicates import reduction
from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import vocabulary
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault


@claim(
    severity="P1",
    kind="B",
    remedy="Put the union of all ranks' keys into one order (sort it) before values are laid into a tensor.",
)
def reduced_by_key(ctx: Context) -> cases.Found:
    for name, request in cases.uneven_keys(vocabulary(ctx.contract)):
        left = [s.numbers(rank) for rank in ctx.value(s.REDUCE, request).ranks]
        keys = [[key for key, _ in rank] for rank in request.ranks]
        for p in reduction.reduced_by_key([dict(rank) for rank in request.ranks], left, ctx):
            yield msgspec.structs.replace(p, counterexample={"case": name, "keys of each rank": keys})


@fault(reduced_by_key, "by_number", s.REDUCE, "a rank appends the keys that it lacks to its own, and sums by number")
def by_number(request: s.ReduceRequest, honest: Honest) -> s.AccumulateResponse:
    answer, given = honest(request), [dict(rank) for rank in request.ranks]
    union = list(dict.fromkeys(k for g in given for k in g))
    orders = [[*g, *(k for k in union if k not in g)] for g in given]
    sums = [sum(g.get(o[i], 0.0) for g, o in zip(given, orders, strict=True)) for i in range(len(union))]
    both = zip(answer.ranks, orders, strict=True)
    ranks: list[dict[str, Any]] = [{**a, **dict(zip(o, sums, strict=True))} for a, o in both]
    return s.AccumulateResponse(ranks)
