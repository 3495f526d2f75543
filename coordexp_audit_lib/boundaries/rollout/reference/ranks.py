"""The reference's way of failing together, on threads: no rank goes on before it knows that all could.

Each part of a step ends in one exchange of outcomes that every rank takes part in, whatever happened to it. Whoever
fails tells the others there, and all of them raise.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from coordexp_audit_lib.boundaries.rollout import surfaces as s
from coordexp_audit_lib.kit.schedule import channels

SECONDS = 30.0  # only a rank that never comes takes as long
T = Any


class Program(Protocol):
    """What one rank does; it notes its events in the list."""

    def __call__(self, rank: Rank) -> tuple[dict[str, float], str]: ...


class PeerFailed(RuntimeError):
    """Another rank failed; the message names it and its error."""


class Group:
    """An exchange between `size` threads, bounded in time."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.barrier = threading.Barrier(size, timeout=SECONDS)
        self.box: list[Any] = [None] * size

    def exchange(self, rank: int, value: Any) -> list[Any]:
        """Every rank's value, in order of rank. Breaks after `SECONDS` if a rank does not come."""
        self.box[rank] = value
        self.barrier.wait()
        values = list(self.box)
        self.barrier.wait()
        return values


class Rank:
    """One rank of a group, with what it did."""

    def __init__(self, group: Group, number: int) -> None:
        self.group, self.number = group, number
        self.events: list[str] = []

    def together(self, part: str, work: Callable[[], T]) -> list[T]:
        """Do one part of a step on every rank; all ranks raise if any failed. Returns every rank's result."""
        error, value = "", None
        self.events.append(f"begins {part}")
        try:
            value = work()
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
            self.events.append(f"fails in {part}")
        told = self.group.exchange(self.number, (error, value))
        failed = [f"rank {i} in {part}: {e}" for i, (e, _) in enumerate(told) if e]
        if failed:
            raise PeerFailed("; ".join(failed))
        self.events.append(f"ends {part}")
        return [v for _, v in told]


def run(programs: list[Program]) -> s.RanksEnded:
    """Run one program per rank; how each ended."""
    group = Group(len(programs))
    ends: list[s.RankEnd | None] = [None] * len(programs)

    def body(number: int) -> None:
        rank = Rank(group, number)
        try:
            metrics, channels = programs[number](rank)
            ends[number] = s.RankEnd([*rank.events, "goes on"], metrics=metrics, channels=channels)
        except Exception as error:
            ends[number] = s.RankEnd([*rank.events, "raises"], type(error).__name__, str(error))

    threads = [threading.Thread(target=body, args=(i,), daemon=True) for i in range(len(programs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(3 * SECONDS)
    return s.RanksEnded([e or s.RankEnd(["does not end"]) for e in ends], all(ends))


# The part of the step that fails, on which rank, and how.
FAILING = {
    "weight_sync": ("weight sync", 0, "the server refused the weights"),
    "rollout_fails": ("rollout", 1, "the server answered with status 500"),
    "not_ready": ("log", 1, "no metrics are pending for this step"),
    "before_metrics": ("metrics", 1, "a metric is no number"),
}


def program(request: s.RanksRequest, number: int) -> Program:
    """What the reference does on one rank in a scenario."""

    def failing(when: bool, message: str) -> Callable[[], None]:
        def work() -> None:
            if when:
                raise RuntimeError(message)

        return work

    def steps(rank: Rank) -> tuple[dict[str, float], str]:
        if request.scenario == "channel":
            chosen = channels(request.b_ratio, 0, request.steps)
            if len(set(rank.together("schedule", lambda: chosen))) > 1:
                raise PeerFailed("the ranks disagree on the channel")
            return {}, chosen
        if request.scenario in FAILING:
            part, culprit, message = FAILING[request.scenario]
            rank.together(part, failing(number == culprit, message))
        own = request.metrics[number]
        every = rank.together("reduction", lambda: own)
        keys = sorted({k for m in every for k in m})
        return {k: sum(m.get(k, 0.0) for m in every) for k in keys}, ""

    return steps
