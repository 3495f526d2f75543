"""Tools that the faults of several claims share."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.rollout import surfaces as s
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
