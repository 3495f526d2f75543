"""What the faults of several claims do: edit the rows of a log, or one metric of an accumulated step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coordexp_audit_lib.boundaries.metrics import surfaces as s
from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import Vocabulary, vocabulary
from coordexp_audit_lib.core.fault import Honest

Logged = dict[str, float | str]
Edit = Callable[[Logged, Vocabulary, int], object]


def edited(edit: Edit) -> Callable[[s.RunRequest, Honest], s.RunResponse]:
    """The honest log, with `edit(row, words, index)` run on each row."""

    def apply(request: s.RunRequest, honest: Honest) -> s.RunResponse:
        rows, words = [dict(row) for row in honest(request).rows], vocabulary()
        for index, row in enumerate(rows):
            edit(row, words, index)
        return s.RunResponse(rows)

    return apply


def is_b(row: Logged, words: Vocabulary) -> bool:
    return row[words.channel_b] == 1


def scaled(row: Logged, *keys: str, by: float) -> None:
    """Multiply metrics, where a row has them."""
    row |= {key: by * float(row[key]) for key in keys if key in row}


def averaged(key: str | Callable[[Vocabulary], str]) -> Callable[[s.AccumulateRequest, Honest], s.AccumulateResponse]:
    """The honest payload with a metric as its mean over all micro-steps; one without it counts as 0."""

    def apply(request: s.AccumulateRequest, honest: Honest) -> s.AccumulateResponse:
        name = key if isinstance(key, str) else key(vocabulary())
        micro = [m for rank in request.ranks for m in rank]
        payload: dict[str, Any] = dict(honest(request).ranks[0])
        if name in payload:
            total = sum(m.metrics.get(name, 0.0) * m.weight for m in micro)
            payload[name] = total / sum(m.weight for m in micro)
        return s.AccumulateResponse([payload] * len(request.ranks))

    return apply
