"""Tools that the faults of several claims share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec.structs import replace

from coordexp_audit_lib.boundaries.rollout import surfaces as s
from coordexp_audit_lib.boundaries.rollout.predicates.exchanges import Exchanged, Pair, Sampled, TrainedRow
from coordexp_audit_lib.core.fault import Honest

Apply = Callable[[s.DispatchRequest, Honest], s.Dispatched]


def redealt(edit: Callable[[list[int], s.RankRun], s.RankRun]) -> Apply:
    """The honest plan, with each rank's run edited; `edit` gets the servers' sizes."""

    def apply(request: s.DispatchRequest, honest: Honest) -> s.Dispatched:
        made: s.Dispatched = honest(request)
        pairs = zip(request.cases, made.runs, strict=True)
        return s.Dispatched([[edit(case.servers, run) for run in runs] for case, runs in pairs])

    return apply


def reseeded(seed: Callable[[s.DispatchRequest, s.RankRun, s.Call], int | None]) -> Apply:
    """The honest plan, with each call's seed replaced."""

    def apply(request: s.DispatchRequest, honest: Honest) -> s.Dispatched:
        def edit(_: list[int], run: s.RankRun) -> s.RankRun:
            return replace(run, calls=[replace(c, seed=seed(request, run, c)) for c in run.calls])

        return redealt(edit)(request, honest)

    return apply


def exchange() -> Exchanged:
    """A sound row of 14 tokens and one of padding, and the answer of ten that it was made of."""
    prompt, ids = np.arange(10, 14), np.arange(20, 30)
    told = -0.25 * np.arange(1, 11)
    marks = np.isin(np.arange(15), np.arange(4, 14))
    values = np.concatenate([np.full(prompt.size, np.nan), told, [0.0]])
    row = TrainedRow("row 0", np.concatenate([prompt, ids, [0]]), prompt.size, marks, values, cut=False)
    answer = Sampled("answer 0", ids, prompt, told, "stop", 10, 1.0)
    return Exchanged([Pair(row, answer, int(prompt.size), marks)], 1, temperature=1.0)


def changed_row(
    ids: Callable[[Any, int], Any] | None = None, *, finish: str = "", **fields: Callable[[Any, int], Any]
) -> Callable[[Exchanged], Exchanged]:
    """The row with other tokens, `supervised` or `logprobs`, each made of what it is and of where the answer begins;
    finish: why the answer ended."""

    def apply(made: Exchanged) -> Exchanged:
        (pair,) = made.pairs
        row, at = pair.row, pair.at
        known = {"ids": row.ids, "supervised": row.supervised, "logprobs": row.logprobs, "sampled": pair.sampled}
        new = {n: np.asarray(edit(known[n], at)) for n, edit in {**({"ids": ids} if ids else {}), **fields}.items()}
        sampled = new.pop("sampled", pair.sampled)
        answer = replace(pair.answer, finish=finish or pair.answer.finish)
        cut = row.cut if not finish else None
        return replace(made, pairs=[Pair(replace(row, **new, cut=cut), answer, at, sampled)])

    return apply
