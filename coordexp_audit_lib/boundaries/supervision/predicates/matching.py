"""CIoU by its definition, and the exact minimum-cost assignment by shortest augmenting paths."""

from __future__ import annotations

from collections.abc import Sequence
from math import atan, pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coordexp_audit_lib.kit.boxes import iou

Array = NDArray[Any]
FORBIDDEN = 1e6


def ciou_loss(pred: Sequence[float], gt: Sequence[float], *, aspect: bool = True) -> float | None:
    """1 - CIoU by its definition, for boxes that have an area and lie in the image; null for others.

    aspect: without it the term that compares the aspect ratios is left out (then it is 1 - DIoU).
    """
    if any(not 0 <= b[i] < b[i + 2] <= 1 for b in (pred, gt) for i in (0, 1)):
        return None
    overlap = iou(pred, gt)
    apart = sum((pred[i] + pred[i + 2] - gt[i] - gt[i + 2]) ** 2 for i in (0, 1)) / 4
    across = sum((max(pred[i + 2], gt[i + 2]) - min(pred[i], gt[i])) ** 2 for i in (0, 1))
    ratios = [atan((b[2] - b[0]) / (b[3] - b[1])) for b in (pred, gt)]
    v = 4 / pi**2 * (ratios[0] - ratios[1]) ** 2
    return 1 - overlap + apart / across + (v * v / (1 - overlap + v) if v and aspect else 0.0)


def assign(cost: list[list[float]]) -> list[int]:
    """For each row of a square cost matrix its column, so that the sum is least (shortest augmenting paths, O(n^3))."""
    n = len(cost)
    row_of, u, v = np.full(n + 1, -1), np.zeros(n + 1), np.zeros(n + 1)
    matrix = np.asarray(cost, dtype=np.float64)
    for row in range(n):
        _augment(matrix, row, row_of, u, v)
    columns = [0] * n
    for column in range(n):
        columns[int(row_of[column])] = column
    return columns


def _augment(cost: Array, row: int, row_of: Array, u: Array, v: Array) -> None:
    """Add one row to the assignment; `u` and `v` are the duals of rows and columns, column n is the virtual start."""
    n = len(cost)
    least, came_from, done = np.full(n, np.inf), np.full(n, n), np.zeros(n + 1, dtype=bool)
    row_of[n], at = row, n
    while row_of[at] != -1:
        done[at] = True
        here = row_of[at]
        reduced = cost[here] - u[here] - v[:n]
        better = ~done[:n] & (reduced < least)
        least[better], came_from[better] = reduced[better], at
        following = int(np.argmin(np.where(done[:n], np.inf, least)))
        step = least[following]
        u[row_of[done]] += step
        v[done] -= step
        least[~done[:n]] -= step
        at = following
    while at != n:
        row_of[at] = row_of[came_from[at]]
        at = int(came_from[at])
    row_of[n] = -1


def candidates(preds: list[list[int]], gts: list[list[int]], top_k: int) -> list[list[int]]:
    """For each prediction the ground truths that overlap it most, at most `top_k`; of equals the earlier."""
    ranked = ([(-iou(p, g), j) for j, g in enumerate(gts)] for p in preds)
    return [[j for _, j in sorted(one)[:top_k]] for one in ranked]


def match(
    preds: list[list[int]],
    gts: list[list[int]],
    gate: float,
    without: tuple[int, int] | None = None,
    among: Sequence[Sequence[int]] | None = None,
) -> list[tuple[int, int]]:
    """The pairs of least cost: 1 - IoU for a pair at or over the gate, 1 for each box left over on either side.

    without: a pair that may not be used. among: for each prediction the ground truths that it may have.
    """
    p, g = len(preds), len(gts)
    if not p or not g:
        return []
    cost = [[1.0 if (i < p) != (j < g) else 0.0 for j in range(p + g)] for i in range(p + g)]
    for i in range(p):
        for j in range(g):
            overlap = iou(preds[i], gts[j])
            allowed = overlap >= gate and (i, j) != without and (among is None or j in among[i])
            cost[i][j] = 1 - overlap if allowed else FORBIDDEN
    return [(i, j) for i, j in enumerate(assign(cost)[:p]) if j < g and cost[i][j] < FORBIDDEN]


def cost_of(pairs: Sequence[tuple[int, int]], preds: list[list[int]], gts: list[list[int]]) -> float:
    """What an assignment costs under the same rule."""
    return sum(1 - iou(preds[i], gts[j]) for i, j in pairs) + len(preds) + len(gts) - 2 * len(pairs)


def margin(preds: list[list[int]], gts: list[list[int]], gate: float) -> tuple[float, float]:
    """How far the nearest overlap is from the gate; what the best assignment without one of its pairs costs more."""
    overlaps = [iou(p, g) for p in preds for g in gts]
    from_gate = min((abs(o - gate) for o in overlaps), default=1.0)
    best = match(preds, gts, gate)
    base = cost_of(best, preds, gts)
    rivals = (cost_of(match(preds, gts, gate, pair), preds, gts) - base for pair in best)
    return from_gate, min([1.0, *rivals])
