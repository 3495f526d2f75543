"""Stage-2 metrics accumulated over micro-steps and ranks so that the required payload comes out right by construction.

    telemetry = Stage2Telemetry()
    telemetry.step_began("B")
    telemetry.identity("rollout/seed_base", seed)          # logged exactly, or refused
    telemetry.count(telemetry.words.rollouts, rollouts)    # summed over micro-steps and ranks
    telemetry.gauge("loss/ce", loss, weight=segments)      # averaged over the micro-steps and ranks that have it
    telemetry.seconds("time/rollout_generate_s", spent)    # summed over micro-steps, the slowest rank's is logged
    telemetry.rate("rollout/precision", over="rollout/matched", under="rollout/pred_objects")
    logs.update(telemetry.finish())                        # on every rank: it gathers

A name has one kind; another kind for it is an error, and so is a fraction for a count. What was never recorded is not
logged: no zero stands for "not measured". The strict-drop counters, which are zero on a good step, are the exception
that the project's spec makes: they are logged on every Channel-B step. torch.distributed is used if it is initialised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import Vocabulary, vocabulary
from coordexp_audit_lib.core.errors import AuditError, InvariantViolation

Gather = Callable[[Any], list[Any]]


class State(msgspec.Struct):
    """What one rank recorded in one step. gauges: weighted sum and weight. rates: numerator and denominator names."""

    channel: str
    counts: dict[str, int] = {}
    identities: dict[str, int | str] = {}
    gauges: dict[str, tuple[float, float]] = {}
    seconds: dict[str, float] = {}
    rates: dict[str, tuple[str, str]] = {}


class Stage2Telemetry:
    """The accumulator of one rank; `finish` gathers the others' through torch.distributed, or as it is told.

    words: how the payload's own metrics are named; by default as the default pipeline's contract says.
    """

    def __init__(self, words: Vocabulary | None = None) -> None:
        self.words = words or vocabulary()
        self._state: State | None = None
        self.steps = self.b_steps = 0

    def step_began(self, channel: str) -> None:
        """Begin an optimizer step; `channel` is `A` or `B`."""
        if channel not in ("A", "B"):
            raise AuditError(f"the channel is {channel!r}", where="Stage2Telemetry", remedy="use A or B")
        if self._state is not None:
            raise AuditError("the step before was not finished", where="Stage2Telemetry", remedy="call finish()")
        self._state = State(channel)
        self.steps += 1
        self.b_steps += channel == "B"
        if channel == "B":
            words = self.words
            for key in (words.invalid, words.valid, words.dropped, *(words.reason + r for r in words.reasons)):
                self._state.counts[key] = 0

    def count(self, name: str, number: int = 1) -> None:
        """Add to a counter.

        Raises:
            InvariantViolation: the number is negative or no whole number.
        """
        if isinstance(number, bool) or number != int(number) or number < 0:
            raise InvariantViolation(
                "metrics.counters_are_counts", f"{number!r} is no count", where=name, remedy="record a gauge for a mean"
            )
        counts = self._of(name, "counts").counts
        counts[name] = counts.get(name, 0) + int(number)

    def dropped(self, reason: str, number: int = 1) -> None:
        """Count records dropped by strict validation: their reason, and with it their total."""
        self.count(f"{self.words.reason}{reason}", number)
        self.count(self.words.dropped, number)

    def identity(self, name: str, value: int | str) -> None:
        """Record what identifies: once or on every micro-step, but never two values.

        Raises:
            InvariantViolation: another value was recorded for it in this step.
        """
        kept = self._of(name, "identities").identities
        if kept.setdefault(name, value) != value:
            what, remedy = f"is {kept[name]!r} and {value!r} in one step", "give values that differ names of their own"
            raise InvariantViolation("metrics.identity_not_averaged", what, where=name, remedy=remedy)

    def gauge(self, name: str, value: float, weight: float = 1.0) -> None:
        """Record a value to be averaged over the micro-steps and ranks that record it, by their weights.

        Raises:
            InvariantViolation: the value is not finite, or the weight is not positive.
        """
        if not math.isfinite(value) or not math.isfinite(weight) or weight <= 0:
            raise InvariantViolation(
                "metrics.finite", f"value {value!r} with weight {weight!r}", where=name, remedy="leave it out instead"
            )
        gauges = self._of(name, "gauges").gauges
        total, weights = gauges.get(name, (0.0, 0.0))
        gauges[name] = (total + value * weight, weights + weight)

    def seconds(self, name: str, spent: float) -> None:
        """Add seconds of this step, from `perf_counter` differences; `time/rollout_*` only on a Channel-B step."""
        state = self._of(name, "seconds")
        if not math.isfinite(spent) or spent < 0:
            raise InvariantViolation("metrics.finite", f"{spent!r} s were spent", where=name, remedy="give a duration")
        if name.startswith(self.words.rollout_time) and state.channel != "B":
            raise InvariantViolation(
                "metrics.only_when_executed", "no rollout runs on Channel-A", where=name, remedy="record it on B steps"
            )
        state.seconds[name] = state.seconds.get(name, 0.0) + spent

    def rate(self, name: str, *, over: str, under: str) -> None:
        """Log a quotient of two counters or timings, taken after all ranks' sums; left out where the lower one is 0."""
        self._of(name, "rates").rates[name] = (over, under)

    def state(self) -> State:
        """What this rank recorded in the step so far."""
        return self._current()

    def finish(self, gather: Gather | None = None) -> dict[str, float | str]:
        """Gather all ranks' states and return the step's payload, the same on every rank. Ends the step."""
        state = self._current()
        states = (gather or gather_states)(state)
        self._state = None
        payload = merged(states)
        for channel, key in (("A", self.words.channel_a), ("B", self.words.channel_b)):
            payload[key] = float(state.channel == channel)
        payload[self.words.ratio] = self.b_steps / self.steps
        return dict(sorted(payload.items()))

    def state_dict(self) -> dict[str, int]:
        """What a checkpoint must keep, so that the realised ratio goes on after a resume."""
        return {"steps": self.steps, "b_steps": self.b_steps}

    def load_state_dict(self, kept: dict[str, int]) -> None:
        self.steps, self.b_steps = int(kept["steps"]), int(kept["b_steps"])

    def _current(self) -> State:
        if self._state is None:
            raise AuditError("no step has begun", where="Stage2Telemetry", remedy="call step_began(channel)")
        return self._state

    def _of(self, name: str, kind: str) -> State:
        state = self._current()
        other = next((f for f in State.__struct_fields__[1:] if f != kind and name in getattr(state, f)), None)
        if other is not None:
            raise AuditError(f"is recorded as {kind} and as {other}", where=name, remedy="keep one kind for a name")
        return state


def merged(states: Iterable[State]) -> dict[str, float | str]:
    """One payload of all ranks' states. Sums run in rank order, so that every rank has the same bits.

    Raises:
        InvariantViolation: ranks ran different channels, or recorded different values for an identity.
    """
    whole: State | None = None
    payload: dict[str, float | str] = {}
    for state in states:
        whole = state if whole is None else _joined(whole, state)
    assert whole is not None, "there is at least this rank"
    payload.update({k: float(v) for k, v in whole.counts.items()})
    payload.update({k: v if isinstance(v, str) else float(v) for k, v in whole.identities.items()})
    payload.update({k: total / weight for k, (total, weight) in whole.gauges.items()})
    payload.update(whole.seconds)
    for name, (over, under) in whole.rates.items():
        terms: dict[str, float] = {**whole.seconds, **whole.counts}
        if over in terms and terms.get(under, 0) > 0:
            payload[name] = terms[over] / terms[under]
    return payload


def _joined(a: State, b: State) -> State:
    if a.channel != b.channel:
        what, remedy = "ranks run different channels in one step", "decide the channel from the step alone"
        raise InvariantViolation("rollout.fail_together", what, where="Stage2Telemetry", remedy=remedy)
    for name in a.identities.keys() & b.identities.keys():
        if a.identities[name] != b.identities[name]:
            what = f"is {a.identities[name]!r} on one rank and {b.identities[name]!r} on another"
            remedy = "log each rank's value under a name of its own"
            raise InvariantViolation("metrics.identity_not_averaged", what, where=name, remedy=remedy)
    counts = {k: a.counts.get(k, 0) + b.counts.get(k, 0) for k in {**a.counts, **b.counts}}
    gauges = {}
    for k in {**a.gauges, **b.gauges}:
        (t, w), (u, v) = a.gauges.get(k, (0.0, 0.0)), b.gauges.get(k, (0.0, 0.0))
        gauges[k] = (t + u, w + v)
    seconds = {k: max(a.seconds.get(k, 0.0), b.seconds.get(k, 0.0)) for k in {**a.seconds, **b.seconds}}
    return State(a.channel, counts, {**a.identities, **b.identities}, gauges, seconds, {**a.rates, **b.rates})


def gather_states(state: State) -> list[State]:
    """The states of all ranks through torch.distributed; this rank's alone where that is not in use."""
    import sys

    dist = getattr(sys.modules.get("torch"), "distributed", None)  # a process that never imported torch has one rank
    if dist is None or not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return [state]
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, msgspec.msgpack.encode(state))
    return [msgspec.msgpack.decode(g, type=State) for g in gathered]
