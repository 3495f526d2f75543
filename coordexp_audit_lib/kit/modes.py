"""In which mode a model is evaluated and trained. Standard library only at import time."""

from __future__ import annotations

from typing import Any

RATES = ("dropout", "attention_dropout", "activation_dropout", "drop_prob", "dropout_p")


class ModesWatch:
    """Looks at the modules that drop at random, once an evaluation and before the first optimizer steps."""

    def __init__(self, steps: int = 8) -> None:
        self.most = steps
        self.evaluations = self.steps = 0
        self.active: set[str] = set()
        self.resting: set[str] = set()
        self._looked = False

    def predicted(self, model: Any) -> None:
        """A step of an evaluation is done."""
        if self._looked:
            return
        self._looked = True
        found = dropping(model)
        self.evaluations += bool(found)
        self.active |= {name for name, module in found.items() if module.training}

    def evaluated(self) -> None:
        """An evaluation is done; the next one is looked at anew."""
        self._looked = False

    def before_step(self, model: Any) -> None:
        if self.steps >= self.most:
            return
        found = dropping(model)
        self.steps += bool(found)
        if not getattr(model, "training", True):
            self.resting |= {name for name, module in found.items() if not module.training}

    def seen(self) -> dict[str, Any]:
        """As the fields of `running.Modes`."""
        names = {"active": sorted(self.active), "resting": sorted(self.resting)}
        return {"evaluations": self.evaluations, "steps": self.steps, **names}


def dropping(model: Any) -> dict[str, Any]:
    """The modules that drop at random when they train: dropout layers, and those that have a rate of it."""
    from torch.nn.modules.dropout import _DropoutNd

    modules = model.named_modules() if hasattr(model, "named_modules") else ()
    return {n: m for n, m in modules if (isinstance(m, _DropoutNd) and m.p > 0) or _has_rate(m)}


def _has_rate(module: Any) -> bool:
    rates = (module.__dict__.get(name) for name in RATES)
    return any(isinstance(rate, float) and rate > 0 for rate in rates)
