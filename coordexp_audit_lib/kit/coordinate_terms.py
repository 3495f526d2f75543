"""The terms of a coordinate's loss, each by itself, and how much of one a measured gradient holds.

Written from their definitions and shared by both sides of the wall: what a pipeline computes is compared with this.
"""

from __future__ import annotations

from typing import Any

from coordexp_audit_lib.kit.tokenizer import COORD_BINS

CROSS_ENTROPY, SOFT, WASSERSTEIN, GATE = "cross_entropy", "soft_cross_entropy", "wasserstein", "gate"
TERMS = (CROSS_ENTROPY, SOFT, WASSERSTEIN, GATE)
SIGMA, TRUNCATE = 2.0, 8  # of the soft target's Gaussian, in bins
LEAST = 1e-12  # of a gradient's norm: below it there is none


def losses(term: str, logits: Any, bins: Any, first: int) -> Any:
    """The term's loss of each slot.

    Args:
        term: `cross_entropy` over the bins; `soft_cross_entropy` against a Gaussian round the bin; `wasserstein`, the
            distance of the two cumulative distributions as a share of the line's length; `gate`, minus the log of the
            mass on all bins.
        logits: [N, V] of the rows that predict the slots. bins: int64 [N]. first: the column of bin 0.

    Returns: [N].
    """
    import torch
    from torch.nn.functional import cross_entropy

    chosen = logits[:, first : first + COORD_BINS]
    if term == CROSS_ENTROPY:
        return cross_entropy(chosen, bins, reduction="none")
    if term == GATE:
        return torch.logsumexp(logits, -1) - torch.logsumexp(chosen, -1)
    away = torch.arange(COORD_BINS) - bins.unsqueeze(-1)
    bell = torch.exp(-0.5 * (away / SIGMA) ** 2) * (away.abs() <= TRUNCATE)
    target = bell / bell.sum(-1, keepdim=True)
    if term == SOFT:
        return cross_entropy(chosen, target, reduction="none")
    if term == WASSERSTEIN:
        apart = torch.softmax(chosen, -1).cumsum(-1) - target.cumsum(-1)
        return apart.abs().sum(-1) / (COORD_BINS - 1)
    raise ValueError(f"no such term: {term}")


def pulls(term: str, logits: Any, grads: Any, bins: list[int], first: int) -> list[tuple[float, float]]:
    """How much of the term's own gradient each slot's gradient holds, and which share of it is something else.

    Args:
        logits, grads: [N, V] of the rows that predict the slots, and the gradient there.

    Returns: for each slot the factor by which the term's gradient was multiplied (least squares over the columns), and
        what is left over, as a share of the whole gradient's norm; 0 and 0 where there is no gradient.
    """
    import torch

    rows = logits.detach().double().requires_grad_()
    if not bins:
        return []
    (own,) = torch.autograd.grad(losses(term, rows, torch.tensor(bins), first).sum(), rows)
    made = []
    for one, got in zip(own, grads.double(), strict=True):
        size, whole = float(one.pow(2).sum()), float(got.norm())
        if whole <= LEAST or not size:
            made.append((0.0, 0.0))
            continue
        factor = float((one * got).sum()) / size
        made.append((factor, float((got - factor * one).norm()) / whole))
    return made
