"""Small trainers and streams with a mistake that a run shows, for the tests of the callback and for silent bugs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import transformers

hub: Any = transformers


class Overwriting(hub.Trainer):  # type: ignore[misc]
    """A trainer that goes over every weight, frozen ones too."""

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().training_step(*args, **kwargs)
        with torch.no_grad():
            for p in self.model.parameters():
                p.mul_(0.99)
        return loss


class LeftTraining(hub.Trainer):  # type: ignore[misc]
    """A trainer whose predictions are made in training mode."""

    def prediction_step(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        model.train()
        return super().prediction_step(model, *args, **kwargs)


class LeftEvaluating(hub.Trainer):  # type: ignore[misc]
    """A trainer that never goes back to training mode."""

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        model.eval()
        loss = self.compute_loss(model, self._prepare_inputs(inputs))
        loss.backward()
        return loss.detach()


class Seeded(hub.Trainer):  # type: ignore[misc]
    """A trainer whose loader workers all have one seed of NumPy."""

    def get_train_dataloader(self) -> Any:
        loader = super().get_train_dataloader()
        getattr(loader, "base_dataloader", loader).worker_init_fn = lambda worker: np.random.seed(42)
        return loader


class Stream(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
    """A stream of rows that each worker reads whole, or its part of it."""

    def __init__(self, rows: list[dict[str, Any]], *, parts: bool) -> None:
        self.rows, self.parts = rows, parts

    def __iter__(self) -> Iterator[Any]:
        info = torch.utils.data.get_worker_info()
        step, first = (info.num_workers, info.id) if self.parts and info else (1, 0)
        return iter(self.rows[first::step])
