"""A short run of an adapter's pipeline, as the subjects that claims on runs judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from coordexp_audit_lib.boundaries.supervision.predicates.running import Repeated
from coordexp_audit_lib.boundaries.supervision.surfaces.training import RUN, Run
from coordexp_audit_lib.core.claim import Context, Subjects
from coordexp_audit_lib.core.problem import Undecided
from coordexp_audit_lib.core.short_run import short_run

BREAK = 2  # optimizer steps before a run is stopped: within the first epoch


def of_run(take: Callable[[Run], Any], nothing: str = "") -> Subjects:
    """The part of a run that `take` takes. nothing: what is said where the run shows none."""

    def asks(ctx: Context) -> Iterator[Any]:
        subject = take(ctx.value(RUN, short_run()))
        if subject is None:
            raise Undecided(nothing)
        yield subject

    return asks


def of_repeated(**changes: Any) -> Subjects:
    """A run, and the same once more with `changes`."""

    def asks(ctx: Context) -> Iterator[Repeated]:
        first, again = (ctx.value(RUN, short_run(**how)) for how in ({}, changes))
        yield Repeated(first.losses, again.losses, first.state, again.state, first.steps, again.steps)

    return asks
