"""Which parameters are said to train and do not: a fact of a run, told in its `audit.json` and once in its log.

It stops no run, for a program may mean it: a tower that the data at hand never reach, a head that is kept as it is.
Standard library only at import time.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

LOOKED_AT = 8  # optimizer steps
SHOWN = 20  # names

_log = logging.getLogger(__name__)


class Parameters:
    """Looks at a model's parameters before its first optimizer steps. Where none of them has a gradient, or the
    optimizer has none of them, other objects hold these (sharded training), and nothing is told."""

    def __init__(self) -> None:
        self.steps = self.training = 0
        self._twice: set[str] = set()
        self._still: set[str] | None = None
        self._ungrouped: set[str] = set()

    def look(self, model: Any, optimizer: Any) -> None:
        """Before an optimizer step."""
        if self.steps >= LOOKED_AT or not hasattr(model, "named_parameters"):
            return
        training = {name: p for name, p in model.named_parameters() if p.requires_grad}
        still = {name for name, p in training.items() if p.grad is None}
        if not training or len(still) == len(training):
            return
        groups = getattr(optimizer, "param_groups", None) or []
        grouped = Counter(id(p) for group in groups for p in group["params"])
        self.training, self._twice = len(training), {name for name, p in training.items() if grouped[id(p)] > 1}
        outside = {name for name, p in training.items() if id(p) not in grouped}
        self._ungrouped = outside if len(outside) < len(training) else set()
        self._still = still if self._still is None else self._still & still
        self.steps += 1
        if self.steps == LOOKED_AT:
            self._warn()

    def seen(self) -> dict[str, Any]:
        """What was seen so far, as the fields of `running.Trained`."""
        names = {"still": self._still or (), "outside": self._ungrouped, "twice": self._twice}
        return {"steps": self.steps, "training": self.training, **{k: sorted(v) for k, v in names.items()}}

    def told(self) -> dict[str, Any]:
        """What was found, by name; empty where no step was looked at."""
        if self._still is None:
            return {}
        if self.steps < LOOKED_AT:
            self._warn()
        found = {"without a gradient": self._still, "in no optimizer group": self._ungrouped}
        return {"steps": self.steps} | {what: first_names(sorted(names)) for what, names in found.items()}

    def _warn(self) -> None:
        for what, names in (("got no gradient", self._still), ("stand in no optimizer group", self._ungrouped)):
            if names:
                shown = ", ".join(first_names(sorted(names)))
                _log.warning("parameters that should train %s in %d steps: %s", what, self.steps, shown)


def first_names(names: Sequence[str]) -> list[str]:
    """The first names in order, and how many more there are."""
    ordered = sorted(names)
    return [*ordered[:SHOWN], *([f"and {len(ordered) - SHOWN} more"] if len(ordered) > SHOWN else [])]
