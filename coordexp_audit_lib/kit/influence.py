"""Which segment of a pack reaches which: measured on a real forward and backward pass.

Forward hooks note what a model was called with, the embeddings that its language model got, and its logits; nothing is
changed. Standard library only at import time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from coordexp_audit_lib.kit.profile import IGNORE_INDEX

Bounds = Sequence[tuple[int, int]]
CALLED = ("input_ids", "position_ids", "image_grid_thw")


class Seen:
    """The last call of a model: its keyword arguments, the language model's input embeddings and last hidden states
    [B, L, d], and its logits [B, L, vocabulary] = head(hidden)."""

    def __init__(self, head: Any) -> None:
        self.head = head
        self.kwargs: dict[str, Any] = {}
        self.embeds: Any = None
        self.hidden: Any = None
        self.logits: Any = None

    def keys(self) -> list[str]:
        """The keyword arguments that held something."""
        return sorted(k for k, v in self.kwargs.items() if v is not None)

    def called(self) -> dict[str, Any]:
        """What tells a token's position, as lists: of `CALLED` those that the model was called with."""
        given = {name: self.kwargs.get(name) for name in CALLED}
        return {name: value.tolist() for name, value in given.items() if value is not None}

    def position_rows(self) -> int:
        """Rows of `position_ids`: 4 with a text row, 3 mRoPE rows, 1 where it is [B, L], 0 where there is none."""
        ids = self.kwargs.get("position_ids")
        return 0 if ids is None else 1 if ids.ndim < 3 else int(ids.shape[0])


@contextmanager
def watching(model: Any) -> Iterator[Seen]:
    """Note the calls of a `Qwen3VLForConditionalGeneration` within the block."""
    seen = Seen(model.lm_head)

    def called(module: Any, args: Any, kwargs: Any) -> None:
        seen.kwargs = dict(kwargs)

    def embedded(module: Any, args: Any, kwargs: Any) -> None:
        seen.embeds = kwargs["inputs_embeds"]

    def headed(module: Any, args: Any) -> None:
        seen.hidden = args[0]

    def answered(module: Any, args: Any, output: Any) -> None:
        seen.logits = getattr(output, "logits", None)  # a loss may be computed of the hidden states

    text = model.model.language_model
    with (
        model.register_forward_pre_hook(called, with_kwargs=True),
        text.register_forward_pre_hook(embedded, with_kwargs=True),
        model.lm_head.register_forward_pre_hook(headed),
        model.register_forward_hook(answered),
    ):
        yield seen


def influence(seen: Seen, labels: Any, bounds: Bounds) -> list[list[float]]:
    """[S, S]: entry i, j is the largest |d loss_i / d embedding| over the tokens of segment j.

    loss_i: the summed cross-entropy of the tokens that segment i supervises, from the hidden states that predict them.
    labels: [L], unshifted.
    """
    import torch

    found, hidden = [], seen.hidden[0]
    for a, b in bounds:
        supervised = a + 1 + torch.nonzero(labels[a + 1 : b] != IGNORE_INDEX).reshape(-1)
        loss = torch.nn.functional.cross_entropy(seen.head(hidden[supervised - 1]), labels[supervised], reduction="sum")
        (grad,) = torch.autograd.grad(loss, seen.embeds, retain_graph=True)
        found.append([float(grad[0, c:d].abs().max()) for c, d in bounds])
    return found


def by_token(seen: Seen) -> list[list[int]]:
    """[L, L]: entry i, j is the decade of max |d (largest logit at i) / d (embedding of j)|, as `decade` counts it."""
    import torch

    found, hidden = [], seen.hidden[0]
    for row in hidden:
        (grad,) = torch.autograd.grad(seen.head(row).max(), seen.embeds, retain_graph=True)
        found.append([decade(v) for v in grad[0].abs().max(-1).values.tolist()])
    return found


def decade(value: float) -> int:
    """0 for exactly zero; 1 below 1e-3, then one more for each power of ten; 6 from 10 on."""
    return 0 if value == 0 else 1 + sum(value >= edge for edge in (1e-3, 1e-2, 1e-1, 1.0, 10.0))


def supervised_rows(loss: Any, logits: Any) -> int:
    """How many rows of the logits a loss reaches: the tokens that it supervises."""
    import torch

    (grad,) = torch.autograd.grad(loss, logits, retain_graph=True)
    return int(((grad.amax(-1) != 0) | (grad.amin(-1) != 0)).sum())  # without a copy of the logits' size


def largest_difference(a: Any, b: Any) -> float:
    """max |a − b| over two equally shaped tensors; infinite where the shapes differ."""
    return float((a.detach() - b.detach()).abs().max()) if a.shape == b.shape else float("inf")
