"""The reference's losses: weighted cross-entropy, expectation decoding, SmoothL1 and CIoU."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, pi
from typing import Any

from coordexp_audit_lib.kit.model import FEW, row_of
from coordexp_audit_lib.kit.tokenizer import COORD_BINS

EPS = 1e-7


def short(number: Any) -> float | None:
    """Four significant digits, or null for a number that is not finite."""
    value = float(number)
    return float(f"{value:.4g}") if isfinite(value) else None


def measured(number: Any) -> float:
    """Four significant digits of a number that must be finite."""
    value = short(number)
    if value is None:
        raise ArithmeticError(f"a norm came out as {number}")
    return value


def decode(logits: Any, temperature: float = 1.0) -> Any:
    """Expected coordinate in 0..1 of each slot: logits [N, 1000] to [N]."""
    import torch

    p = torch.softmax(logits.float() / temperature, dim=-1)
    return (p * torch.arange(COORD_BINS)).sum(-1) / (COORD_BINS - 1)


def smooth_l1(pred: Any, gt: Any) -> Any:
    """Mean over boxes [N, 4] and their coordinates, in units of the image."""
    from torch.nn.functional import smooth_l1_loss

    return smooth_l1_loss(pred, gt)


def ciou(pred: Any, gt: Any) -> Any:
    """1 - CIoU, mean over boxes [N, 4]; predictions are put in order and clipped to the image first."""
    import torch

    def ordered(box: Any) -> Any:
        x1, y1, x2, y2 = box.unbind(-1)
        low, high = torch.minimum, torch.maximum
        return (v.clamp(0, 1) for v in (low(x1, x2), low(y1, y2), high(x1, x2), high(y1, y2)))

    ax1, ay1, ax2, ay2 = ordered(pred)
    bx1, by1, bx2, by2 = ordered(gt)
    wide = (torch.minimum(ax2, bx2) - torch.maximum(ax1, bx1)).clamp(min=0)
    high = (torch.minimum(ay2, by2) - torch.maximum(ay1, by1)).clamp(min=0)
    inter = wide * high
    union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - inter
    overlap = inter / union.clamp(min=EPS)
    apart = ((ax1 + ax2 - bx1 - bx2) ** 2 + (ay1 + ay2 - by1 - by2) ** 2) / 4
    across = (torch.maximum(ax2, bx2) - torch.minimum(ax1, bx1)) ** 2
    across = across + (torch.maximum(ay2, by2) - torch.minimum(ay1, by1)) ** 2
    shape_a = torch.atan((ax2 - ax1).clamp(min=EPS) / (ay2 - ay1).clamp(min=EPS))
    shape_b = torch.atan((bx2 - bx1).clamp(min=EPS) / (by2 - by1).clamp(min=EPS))
    v = 4 / pi**2 * (shape_b - shape_a) ** 2
    alpha = v / (1 - overlap + v + EPS)
    return (1 - overlap + apart / across.clamp(min=EPS) + alpha * v).mean()


def token_loss(logits: Any, ids: Sequence[tuple[int, int, int]], weights: Sequence[float]) -> Any:
    """Weighted mean of the cross-entropy of the tokens (row, position, id), each predicted from the position before."""
    import torch
    from torch.nn.functional import cross_entropy

    if not ids:
        return logits.sum() * 0
    rows, places = torch.tensor([b for b, _, _ in ids]), torch.tensor([p - 1 for _, p, _ in ids])
    wanted = row_of(torch.tensor([t for _, _, t in ids]))
    each = cross_entropy(logits[rows, places], wanted, reduction="none")
    weight = torch.tensor(list(weights))
    return (each * weight).sum() / weight.sum()


def coordinate_logits(logits: Any, slots: Sequence[tuple[int, int]]) -> Any:
    """[N, 1000]: the coordinate columns at the position before each slot (row, position)."""
    import torch

    rows, places = torch.tensor([b for b, _ in slots]), torch.tensor([p - 1 for _, p in slots])
    return logits[rows, places, FEW:]


def geometry(
    logits: Any, slots: Sequence[tuple[int, int]], bins: Sequence[int], ciou_weight: float, extra: bool
) -> Any:
    """SmoothL1 + weighted CIoU of the decoded boxes; `extra` adds a coordinate cross-entropy and a spread term."""
    import torch

    if not slots:
        return logits.sum() * 0
    chosen = coordinate_logits(logits, slots)
    pred = decode(chosen).reshape(-1, 4)
    target = torch.tensor(list(bins), dtype=torch.float32).reshape(-1, 4) / (COORD_BINS - 1)
    loss = smooth_l1(pred, target)
    if ciou_weight:
        loss = loss + ciou_weight * ciou(pred, target)
    if extra:
        from torch.nn.functional import cross_entropy

        loss = loss + 0.1 * cross_entropy(chosen, torch.tensor(list(bins)))
    return loss


def aimed_bin(logits: Any, grad: Any, slots: int) -> int:
    """The bin that a slot's gradient points to: SmoothL1's gradient at logit k is (E - t) / slots times dE/dlogit_k."""
    import torch

    chosen = logits[FEW:].double().requires_grad_()
    mean = decode(chosen.unsqueeze(0))
    (slope,) = torch.autograd.grad(mean.sum(), chosen)
    size = (grad[FEW:].double() * slope).sum() / slope.pow(2).sum()
    return round(float((mean.detach() - size * slots) * (COORD_BINS - 1)))
