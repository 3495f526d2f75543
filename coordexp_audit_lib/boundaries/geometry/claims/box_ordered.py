"""A ground-truth box with x2<x1 or y2<y1 is refused, never repaired, on every path into training.

Crossed corners say that an annotation is wrong, and not in which way. Sorted, nudged or let through, it becomes a box
that nobody drew: it is supervised token by token, and CIoU and matching see an area that is empty or invented.

Example: `[501, 100, 500, 200]` is an error with the object's path; `[500, 100, 501, 200]` would be a repair."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.geometry import cases
from coordexp_audit_lib.boundaries.geometry import surfaces as s
from coordexp_audit_lib.boundaries.geometry.predicates import frames, grounding, records, text
from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.kit.boxes import BIN_OF_TOKEN, tokens


@claim(
    severity="P1",
    kind="B",
    remedy="Refuse the record with the object's path; do not sort, clamp or nudge the corners.",
    spec=(Citation("pytorch/vision", "torchvision/ops/boxes.py", "box_iou", "v0.23.0"),),
)
def box_ordered(ctx: Context) -> Iterator[Violation]:
    passed: dict[str, list[tuple[list[int], list[int] | None, Where | None]]] = {}
    for name, box in (("in order", [100, 200, 300, 400]), *cases.CROSSED_BOXES):
        for path, surface, request in cases.paths(ctx, box):
            answer = cases.ask(ctx, path, surface, request)
            if answer is None:
                continue
            passes, where = cases.passes(answer), ctx.where(surface)
            got = _box_in(answer.value) if passes else None
            if name != "in order" and passes:
                passed.setdefault(path, []).append((box, got, where))
            elif name == "in order" and not passes:
                yield Violation(f"{path} refuses a box in order", path, "accepted", "refused", box, where)
            elif name == "in order" and got is None and surface is not s.GATE:
                yield Violation(f"{path} loses a box in order", path, box, None, box, where)
    for path, found in passed.items():
        box, got, where = found[0]
        what = "accepts them as they are" if got in (None, box) else f"repairs them, {box} becomes {got}"
        message = f"{path} refuses {len(cases.CROSSED_BOXES) - len(found)} of {len(cases.CROSSED_BOXES)} crossed boxes"
        yield Violation(f"{message}: it {what}", path, "refused", got, [box for box, _, _ in found], where)


box_ordered.on(records.Record, records.box_ordered)
box_ordered.on(grounding.Talk, frames.ordered)


def _box_in(value: Any) -> list[int] | None:
    """The box that an answer of one of the paths holds."""
    if isinstance(value, s.RenderResponse):
        shown = text.read(value.text)
        return list(shown[0].bins) if shown else None
    if isinstance(value, s.GtResponse):
        return value.points[0] if value.points else None
    if isinstance(value, s.GateResponse):
        return None
    return value.objects[0].get("bbox_2d") if value.objects else None


@fault(box_ordered, "boxes_repaired", s.GT_BOXES, "the corners of a crossed ground-truth box are sorted into order")
def boxes_repaired(request: s.GtRequest, honest: Honest) -> Any:
    objects = []
    for item in request.objects:
        x1, y1, x2, y2 = (BIN_OF_TOKEN[t] for t in item["bbox_2d"])
        objects.append({**item, "bbox_2d": tokens([min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)])})
    return honest(s.GtRequest(objects))
