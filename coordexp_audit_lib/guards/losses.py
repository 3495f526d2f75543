"""What a logged loss is made of: each micro-step's cross-entropy, from the logits that the model gives.

A hook on the model sums it piece by piece, until a loss is logged, and then is taken away. It listens to the first
loss, and to that of the step at the end of an epoch which has fewer micro-steps than the others. It is there only where
micro-steps are accumulated in one process, for there alone the trainer's loss can be told from a log.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from coordexp_audit_lib.boundaries.packing.predicates.accumulation import Logged, Micro
from coordexp_audit_lib.kit.profile import IGNORE_INDEX

MOST_STEPS = 8  # optimizer steps from one logged loss to the next; with more, none is compared
PIECE = 256  # tokens


class Losses:
    """Listens to a model in training."""

    def __init__(self) -> None:
        self.steps: list[list[Micro]] = []
        self._hook: Any = None
        self._model: Any = None
        self._each = self._partial = self._began = 0

    def listen(self, model: Any, args: Any, loader: Any = None, step: int = 0) -> None:
        """Begin, if several micro-steps of one process make an optimizer step. step: those taken before."""
        one_process = getattr(args, "world_size", 1) == 1 and getattr(args, "n_gpu", 1) <= 1
        self._each, self._began = getattr(args, "gradient_accumulation_steps", 1), step
        if not one_process or self._each <= 1:
            return
        self._model = model
        with suppress(TypeError, AttributeError):  # its length is not known
            of_epoch = -(-len(loader) // self._each)
            self._partial = (step // of_epoch + 1) * of_epoch if len(loader) % self._each else 0
        self._hear()

    def _hear(self) -> None:
        with suppress(AttributeError):  # no torch module
            self._hook = self._model.register_forward_hook(self._heard, with_kwargs=True)

    def step(self) -> None:
        """An optimizer step begins."""
        if self._hook is not None:
            self.steps.append([])
            if len(self.steps) > MOST_STEPS:
                self._rest()

    def logged(self, loss: Any, step: int) -> Logged | None:
        """A logged loss with what it is made of; None where that isn't known. step: after which it is logged."""
        steps, since = self.steps if self._hook is not None else [], step - self._began
        self._rest()
        self._began = step
        if step >= self._partial:
            self._partial = 0
        elif since <= MOST_STEPS and self._partial <= step + since:
            self._hear()
        whole = steps and all(steps) and isinstance(loss, float)
        return Logged(loss, steps, self._each) if whole else None

    def end(self) -> None:
        """Listen no more."""
        self._rest()
        self._model, self._partial = None, 0

    def _rest(self) -> None:
        if self._hook is not None:
            self._hook.remove()
        self._hook, self.steps = None, []

    def _heard(self, module: Any, args: Any, kwargs: Any, output: Any) -> None:
        if not module.training or not self.steps:
            return
        labels, logits = kwargs.get("labels"), getattr(output, "logits", None)
        if labels is None or logits is None or logits.ndim != 3 or logits.shape[:2] != labels.shape:
            self.end()  # the trainer has a loss of its own
            return
        self.steps[-1].append(summed(logits, labels))


def summed(logits: Any, labels: Any) -> Micro:
    """The cross-entropy of the supervised tokens. logits: [rows, L, vocabulary]; labels: [rows, L], unshifted."""
    import torch

    with torch.no_grad():
        total, tokens = 0.0, 0
        for row, marks in zip(logits, labels, strict=True):
            wanted = marks[1:].to(row.device)
            for at in range(0, len(wanted), PIECE):
                part = wanted[at : at + PIECE]
                piece = row[at : at + len(part)].float()
                total += float(
                    torch.nn.functional.cross_entropy(piece, part, reduction="sum", ignore_index=IGNORE_INDEX)
                )
                tokens += int((part != IGNORE_INDEX).sum())
    return Micro(total, tokens)
