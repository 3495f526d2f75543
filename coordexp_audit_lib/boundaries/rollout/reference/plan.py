"""The reference's plan of a rollout: which rank sends what to which server, round by round, and the seeds."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.rollout import surfaces as s
from coordexp_audit_lib.core.surface import Refuse
from coordexp_audit_lib.kit.schedule import counted_base


def slots(case: s.Topology, rank: int) -> list[int]:
    """How many requests a rank may have under way on each server.

    All slots of all servers (`decode_batch_size` for each rollout GPU) stand in a row, and every rank owns an equal,
    unbroken stretch of it.

    Raises:
        Refuse: there are more ranks than slots.
    """
    share = case.decode_batch_size * sum(case.servers) // case.ranks
    if share == 0:
        raise Refuse(
            f"{case.ranks} learner ranks share {case.decode_batch_size * sum(case.servers)} rollout slots "
            f"(decode_batch_size {case.decode_batch_size}, servers {case.servers}): raise decode_batch_size"
        )
    first, last = rank * share, (rank + 1) * share
    owned, start = [], 0
    for size in case.servers:
        end = start + case.decode_batch_size * size
        owned.append(max(0, min(last, end) - max(first, start)))
        start = end
    return owned


def calls(case: s.Topology, rank: int, seed: int, global_step: int) -> list[s.Call]:
    """The calls of one rank, by first request."""
    owned, base = slots(case, rank), counted_base(seed, global_step, case.requests)
    made: list[s.Call] = []
    at, number = 0, 0
    while at < case.requests:
        for server, room in enumerate(owned):
            count = min(room, case.requests - at)
            if count:
                made.append(s.Call(number, server, base + at, list(range(at, at + count))))
                at += count
        number += 1
    return made
