"""Contiguous, order-preserving, capped per rank and server; zero requests send nothing; the outputs come back in
request order.

Output i is scored against the ground truth of request i. In another order every box is matched with another picture's
objects, and the loss goes on without an error. What exceeds a server's decode batch makes rollouts wait or run out of
memory, and a rank that sends for nothing asks a server that others are waiting for.

Example: nine requests on servers of one, two and one GPU leave a rank as `0–2`, `3–5`, `6–8`, and return as `0 … 8`."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import asdict, replace

from coordexp_audit_lib.boundaries.rollout import cases, predicates
from coordexp_audit_lib.boundaries.rollout import surfaces as s
from coordexp_audit_lib.boundaries.rollout.faults import redealt
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.problem import Problem


@claim(
    severity="P0",
    kind="B",
    remedy="Give every rank an unbroken stretch of the servers' slots and fill it in request order; write each output "
    "at its request's index.",
)
def chunking(ctx: Context) -> Iterator[Problem]:
    topologies = [*cases.small_topologies(), *cases.drawn_topologies(ctx.rng("topologies"), 60)]
    sent = 0
    answered = ctx.value(s.DISPATCH, s.DispatchRequest(topologies)).runs
    for case, runs in zip(topologies, answered, strict=True):
        ctx.judged()
        sent += sum(len(c.requests) for r in runs for c in r.calls)
        found = predicates.dispatch_problems(case, runs, capped=ctx.contract.get("rollout.capped", True))
        yield from predicates.told(found, "", asdict(case))
    ctx.fact("requests sent to stand-in servers", sent)


def _by_server(sizes: list[int], run: s.RankRun) -> s.RankRun:
    calls = sorted(run.calls, key=lambda c: (c.server, c.round))
    return replace(run, outputs=[n for c in calls for n in c.requests])


def _dealt(sizes: list[int], run: s.RankRun) -> s.RankRun:
    every = [n for c in run.calls for n in c.requests]
    dealt = [every[i :: len(sizes)] for i in range(len(sizes))]
    return replace(run, calls=[s.Call(0, i, 1 + r[0], r) for i, r in enumerate(dealt) if r])


fault(chunking, "outputs_by_server", s.DISPATCH, "outputs are joined server by server instead of in request order")(
    redealt(_by_server)
)
fault(chunking, "round_robin", s.DISPATCH, "requests are dealt to the servers one by one")(redealt(_dealt))
fault(chunking, "all_at_once", s.DISPATCH, "every rank sends everything in one round")(
    redealt(lambda _, run: replace(run, calls=[replace(c, round=0) for c in run.calls]))
)
fault(chunking, "nothing_sent", s.DISPATCH, "a rank without requests asks the server for nothing")(
    redealt(lambda _, run: run if run.calls or run.error else s.RankRun([s.Call(0, 0, 1, [])], []))
)
