"""The order and content of samples are a pure function of seed, epoch and index: the same with 0 and with 2 loader
workers.

Otherwise a run can't be repeated: what the model saw depends on how many processes fed it and on what was asked before,
and a difference between two runs is not the difference between their configs.

Example: epoch 1, index 7 gives the same record and text asked first, last, or by a worker."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.geometry import cases
from coordexp_audit_lib.boundaries.geometry import surfaces as s
from coordexp_audit_lib.boundaries.geometry.faults import changed
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, asked, fault
from coordexp_audit_lib.core.finding import Violation

Samples = dict[tuple[int, int], s.Sample]
CHANGES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("asked again", {}),
    ("with 2 loader workers", {"workers": 2}),
    ("asked backwards", {"indices": list(range(12))[::-1]}),
    ("with the epochs in another order", {"epochs": [1, 0, 1]}),
)


@claim(
    severity="P1",
    kind="B",
    remedy="Derive every random choice from seed, epoch and index alone; keep no state between samples.",
)
def sampling_deterministic(ctx: Context) -> Iterator[Violation]:
    records = [cases.record(ctx.rng(i), 5, ordered=True) for i in range(12)]
    forward = list(range(len(records)))
    for seed in (0, 17):
        for ordering in ("sorted", "random"):
            subject = f"seed {seed}, {ordering}"
            asked = s.OrderRequest(records, seed, [0, 1], forward, 0, ordering)
            first: Samples = {}
            with ctx.case(subject):
                first = _samples(ctx, asked)
                yield from _covered(first, forward, subject)
            for name, change in CHANGES if first else ():
                again: Samples = {}
                with ctx.case(f"{subject}, {name}"):
                    again = _samples(ctx, changed(asked, **change))
                if not again:
                    continue
                ctx.judged(len(records))
                wrong = sorted(key for key in first if again.get(key) != first[key])
                if wrong:
                    epoch, index = wrong[0]
                    count, first_at = len(wrong), f"the first at epoch {epoch}, index {index} ({ordering})"
                    message = f"{name}, {count} samples differ, {first_at}"
                    yield Violation(message, subject, _shown(first[wrong[0]]), _shown(again.get(wrong[0])), change)


def _samples(ctx: Context, request: s.OrderRequest) -> Samples:
    """What stood at (epoch, index); a second pass over an epoch must agree with the first, or its sample is marked."""
    answer = ctx.value(s.ORDER, copy.deepcopy(request))
    found: Samples = {}
    for epoch, samples in zip(request.epochs, answer.epochs, strict=True):
        for index, sample in zip(request.indices, samples, strict=True):
            known = found.setdefault((epoch, index), sample)
            if known != sample:
                found[epoch, index] = s.Sample(sample.record, f"{known.digest} then {sample.digest}")
    return found


def _covered(found: Samples, forward: list[int], subject: str) -> Iterator[Violation]:
    """An epoch holds every record once."""
    for epoch in sorted({e for e, _ in found}):
        seen = sorted(found[epoch, i].record for i in forward)
        if seen != forward:
            yield Violation(f"epoch {epoch} does not hold every record once", subject, forward, seen)


def _shown(sample: s.Sample | None) -> Any:
    return msgspec.to_builtins(sample) if sample else None


fault(
    sampling_deterministic,
    "order_from_worker",
    s.ORDER,
    "the order inside a sample depends on how many loader workers there are",
)(asked(seed=lambda request: request.seed + request.workers))


@fault(
    sampling_deterministic, "order_keeps_state", s.ORDER, "a sample depends on which samples were asked for before it"
)
def order_keeps_state(request: s.OrderRequest, honest: Honest) -> Any:
    epochs = honest(request).epochs
    return s.OrderResponse([[s.Sample(x.record, f"{x.digest}{i}") for i, x in enumerate(epoch)] for epoch in epochs])
