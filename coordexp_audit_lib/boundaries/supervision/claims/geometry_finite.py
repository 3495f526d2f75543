"""SmoothL1 + CIoU and their gradients are finite on degenerate, inverted, identical and far boxes; no GIoU.

Early in training boxes are points, lines, and the wrong way round. One NaN in one slot is a NaN in every weight after
the step; an overlap loss that is not CIoU lets boxes without overlap, or of the wrong shape, go uncorrected.

Example: a prediction that is the point (0.5, 0.5) has a finite loss, and a gradient that moves it to the ground
truth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.predicates.matching import ciou_loss
from coordexp_audit_lib.boundaries.supervision.surfaces import BBOX_LOSS, BoxLossRequest
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, answered, fault
from coordexp_audit_lib.core.problem import Problem

BOXES = {
    "point": ([0.5] * 4, [0.2, 0.2, 0.4, 0.4]),
    "both points": ([0.5] * 4, [0.5] * 4),
    "line": ([0.1, 0.5, 0.9, 0.5], [0.2, 0.2, 0.4, 0.4]),
    "inverted": ([0.9, 0.9, 0.1, 0.1], [0.2, 0.2, 0.4, 0.4]),
    "identical": ([0.2, 0.2, 0.4, 0.4], [0.2, 0.2, 0.4, 0.4]),
    "far": ([0.0, 0.0, 0.01, 0.01], [0.9, 0.9, 1.0, 1.0]),
    "whole image": ([0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]),
    "outside": ([-0.5, -0.5, 1.5, 1.5], [0.1, 0.1, 0.3, 0.3]),
    "at the corner": ([0.0] * 4, [0.0, 0.0, 1.0, 1.0]),
    "partly over": ([0.1, 0.1, 0.5, 0.4], [0.2, 0.15, 0.6, 0.7]),
    "wide on tall": ([0.1, 0.4, 0.9, 0.5], [0.4, 0.1, 0.5, 0.9]),
}


@claim(severity="P0", kind="B", remedy="Clamp areas, diagonals and sides from below before dividing; use CIoU.")
def geometry_finite(ctx: Context) -> Iterator[Problem]:
    answer = ctx.value(BBOX_LOSS, BoxLossRequest([p for p, _ in BOXES.values()], [g for _, g in BOXES.values()]))
    for i, (name, (pred, gt)) in enumerate(BOXES.items()):
        ctx.judged()
        for term, value, grad in (
            ("SmoothL1", answer.smoothl1[i], answer.smoothl1_grad[i]),
            ("CIoU", answer.ciou[i], answer.ciou_grad[i]),
        ):
            if not grad:
                ctx.left_out(f"the gradient of {term}", "it did not come back")
            if value is None or None in grad:
                actual = {"value": _finite(value), "gradient": list(map(_finite, grad))}
                yield Problem(f"{term} or its gradient is not finite", name, "finite", actual, [pred, gt])
        wanted, ciou = ciou_loss(pred, gt), answer.ciou[i]
        if wanted is not None and ciou is not None and abs(ciou - wanted) > 2e-3:
            yield Problem("the overlap loss is not CIoU", name, round(wanted, 3), round(ciou, 3), [pred, gt])


def _finite(value: float | None) -> str:
    return "not finite" if value is None else "finite"


@fault(geometry_finite, "unclamped_geometry", BBOX_LOSS, "Overlap divides by an area that may be zero.")
def _unclamped(request: BoxLossRequest, honest: Honest) -> Any:
    loss, pairs = honest(request), zip(request.preds, request.gts, strict=True)
    empty = (p[0] == p[2] and g[0] == g[2] for p, g in pairs)
    return replace(loss, ciou=[None if e else v for e, v in zip(empty, loss.ciou, strict=True)])


fault(geometry_finite, "plain_iou", BBOX_LOSS, "Another overlap loss than CIoU: without the distance term.")(
    answered(ciou=lambda loss: [None if v is None else min(v, 1.0) for v in loss.ciou])
)


@fault(geometry_finite, "no_aspect_term", BBOX_LOSS, "The overlap loss compares centres, but not aspect ratios.")
def _no_aspect(request: BoxLossRequest, honest: Honest) -> Any:
    loss, pairs = honest(request), zip(request.preds, request.gts, strict=True)
    plain = [ciou_loss(p, g, aspect=False) for p, g in pairs]
    return replace(loss, ciou=[v if d is None else d for v, d in zip(loss.ciou, plain, strict=True)])
