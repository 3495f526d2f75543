"""What a callback sees of a run beyond its batches: parameters, weights, modes, data loaders, the order of samples.

Each is seen once or every few steps, and judged by the claims on its type. What a library demands stops the run; what
is only our own measure is told in `audit.json` and once in the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coordexp_audit_lib.boundaries.packing.predicates.epochs import Workers
from coordexp_audit_lib.boundaries.supervision.predicates import running
from coordexp_audit_lib.guards.diary import Diary
from coordexp_audit_lib.guards.ranks import Ranks
from coordexp_audit_lib.guards.samples import SampleLedger
from coordexp_audit_lib.guards.stopping import claim_of, judged, stop_at
from coordexp_audit_lib.kit.loaders import LoaderWatch
from coordexp_audit_lib.kit.modes import ModesWatch
from coordexp_audit_lib.kit.parameters import LOOKED_AT, Parameters
from coordexp_audit_lib.kit.weights import WeightsWatch

ONCE, FINITE = "supervision.updated_once", "supervision.weights_finite"
EPOCH, WORKERS = "packing.epoch_once", "packing.workers_apart"


class RunWatch:
    """Looks at a run from its beginning to its end. inbox: the folder in which loader processes leave what they
    tell."""

    def __init__(self, diary: Diary, inbox: Path, ranks: Ranks | None = None) -> None:
        self.diary, self.inbox, self.ranks = diary, inbox, ranks or Ranks()
        self._anew()

    def _anew(self) -> None:
        self.parameters, self.weights, self.modes = Parameters(), WeightsWatch(), ModesWatch()
        self.samples, self.loaders = SampleLedger(self.ranks), LoaderWatch(self.inbox)

    def began(self, args: Any, step: int, kwargs: Mapping[str, Any], folder: Path) -> None:
        """Training begins. step: the optimizer steps before it was resumed. kwargs: what a trainer tells a callback."""
        self._anew()
        self.weights.began(kwargs.get("model"))
        loader = kwargs.get("train_dataloader")
        if loader is not None:
            self.samples.began(loader, args, step, folder)
            self.loaders.began(loader)

    def before_step(self, kwargs: Mapping[str, Any]) -> None:
        """All gradients of an optimizer step are there."""
        model = kwargs.get("model")
        before = self.parameters.steps
        self.parameters.look(model, kwargs.get("optimizer"))
        self.weights.before_step()
        self.modes.before_step(model)
        if self.parameters.steps > before:
            stop_at(judged(claim_of(ONCE), running.Trained(**self.parameters.seen())), "optimizer")
            if self.parameters.steps == LOOKED_AT:
                self.tell("supervision.frozen_still", running.Frozen(**self.weights.frozen()))

    def after_step(self, step: int, *, wait: bool = False) -> None:
        """An optimizer step is done."""
        made = self.weights.finite(step, wait=wait)
        if made is not None:
            self.tell(FINITE, running.Weights(**made))

    def epoch_ended(self) -> None:
        made = self.samples.epoch_ended()
        if made is not None:
            self.tell(EPOCH, made)
        self._workers()

    def ended(self) -> dict[str, Any]:
        """Training is over: judge what only the whole run shows. Returns further facts."""
        self._workers()
        tied = self.weights.tied()
        if tied is not None:
            self.tell("supervision.tied_stay", running.Tied(**tied))
        self.tell("supervision.frozen_still", running.Frozen(**self.weights.frozen()))
        self.tell("supervision.modes_fit", running.Modes(**self.modes.seen()))
        for claim in ("supervision.parameters_train", ONCE):
            self.tell(claim, running.Trained(**self.parameters.seen()))
        self.weights.ended()
        self.samples.ended()
        order = self.samples.told or ({"not known": self.samples.why} if self.samples.why else {})
        return {"parameters": self.parameters.told(), "samples": order}

    def tell(self, claim: str, subject: Any) -> None:
        """Judge, keep what is found, and stop if it must.

        Raises:
            InvariantViolation: a library demands it, and it is broken.
        """
        verdict = judged(claim_of(claim), subject)
        self.diary.tell(verdict.finding)
        stop_at(verdict)

    def _workers(self) -> None:
        self.loaders.read()
        for one in self.loaders.seen():
            self.tell(WORKERS, Workers(**one))
        self.loaders.found.clear()
