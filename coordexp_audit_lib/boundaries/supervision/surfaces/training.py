"""What a short run of a small model shows of its parameters, its modes and whether it can be run again."""

from __future__ import annotations

import msgspec

from coordexp_audit_lib.boundaries.supervision.predicates import running
from coordexp_audit_lib.core.short_run import ShortRun
from coordexp_audit_lib.core.surface import surface


class Run(msgspec.Struct, frozen=True):
    """`kit.training.ran` tells all of it. steps: optimizer steps, those before a break among them. losses: as logged.
    state: a digest of the weights at the end. trained, frozen, modes, weights, tied: what was seen of parameters and
    modes; weights and tied null where nothing of the kind is there."""

    steps: int
    losses: list[float | str]
    state: str
    trained: running.Trained
    frozen: running.Frozen
    modes: running.Modes
    weights: running.Weights | None = None
    tied: running.Tied | None = None


RUN = surface("supervision.run", ShortRun, Run, "a short run of a small model by the pipeline's own trainer")
