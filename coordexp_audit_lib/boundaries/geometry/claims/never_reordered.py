"""Coordinates keep their order inside an object; objects keep the order that object_ordering sets, and an unsorted
record is refused under sorted; object_field_order changes key order only.

The text is learned left to right: an order that changes from record to record makes the next object unpredictable, and
the loss then measures the shuffle. A polygon whose points were moved is another polygon.

Example: with `object_ordering: sorted`, an object at y = 11 before one at y = 10 is refused, not put in order."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.geometry import cases
from coordexp_audit_lib.boundaries.geometry import surfaces as s
from coordexp_audit_lib.boundaries.geometry.faults import changed, objects
from coordexp_audit_lib.boundaries.geometry.predicates import records
from coordexp_audit_lib.boundaries.geometry.predicates import text as predicates
from coordexp_audit_lib.boundaries.geometry.predicates.bins import named
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.surface import Refuse
from coordexp_audit_lib.kit.boxes import tokens
from coordexp_audit_lib.kit.coordjson import ORDERS


@claim(
    severity="P0", kind="B", remedy="Copy coordinate lists as they are; assert the top-left order instead of sorting."
)
def never_reordered(ctx: Context) -> Iterator[Violation | Problem]:
    for ordering in ("sorted", "random"):
        first: list[str] | None = None
        for record, order, name, text in cases.rendered(ctx, ordering):
            if isinstance(text, Violation):
                yield text
                continue
            found = predicates.reordered(record, text, order, ordering)
            yield from (named(p, name, record["objects"][:3]) for p in found)
            try:
                descs = [shown.desc for shown in predicates.read(text)]
            except predicates.Unreadable:
                continue
            if order == ORDERS[0]:
                first = descs
            elif first is not None and sorted(first) == sorted(descs) and descs != first:
                yield Violation("object_field_order changes the order of objects", name, first, descs)
    yield from _unsorted(ctx)


never_reordered.on(records.Record, records.never_reordered)


def _unsorted(ctx: Context) -> Iterator[Violation]:
    """Neighbours that are out of top-left order in y, in x only, or by a polygon's tight box."""
    pairs: tuple[tuple[str, dict[str, list[int]], dict[str, list[int]]], ...] = (
        ("y", {"bbox_2d": [0, 11, 5, 20]}, {"bbox_2d": [0, 10, 5, 20]}),
        ("x at equal y", {"bbox_2d": [11, 10, 50, 20]}, {"bbox_2d": [10, 10, 50, 20]}),
        ("y of a polygon", {"poly": [5, 90, 9, 99, 1, 95]}, {"poly": [5, 99, 9, 95, 1, 89]}),
        ("x of a polygon at equal y", {"poly": [9, 10, 30, 40, 8, 60]}, {"poly": [9, 10, 30, 40, 7, 60]}),
        ("numbers, not text", {"bbox_2d": [0, 100, 5, 200]}, {"bbox_2d": [0, 99, 5, 200]}),
    )
    for name, first, second in pairs:
        items: list[dict[str, Any]] = [
            {"desc": f"object {i}", **{k: tokens(v) for k, v in g.items()}} for i, g in enumerate((first, second))
        ]
        for shown, sorted_ in ((items, False), (items[::-1], True), ([items[0], items[0]], True)):
            ctx.judged()
            record = {**cases.sound(index=0), "objects": copy.deepcopy(shown)}
            if ctx.ask(s.RENDER, cases.render(ctx, record)).refused == sorted_:
                right, wrong, what = ("accepted", "refused", "in") if sorted_ else ("refused", "accepted", "out of")
                message = f"a record is {wrong} though its objects are {what} top-left order ({name})"
                yield Violation(message, name, right, wrong, counterexample=[first, second])


@fault(never_reordered, "polygons_rotated", s.RENDER, "a polygon starts at its second point")
def polygons_rotated(request: s.RenderRequest, honest: Honest) -> Any:
    honest(request)
    record = objects(request.record, lambda values: values[2:] + values[:2], ("poly",))
    return honest(changed(request, record=record, object_ordering="random"))


@fault(never_reordered, "objects_sorted", s.RENDER, "an unsorted record is sorted instead of refused")
def objects_sorted(request: s.RenderRequest, honest: Honest) -> Any:
    try:
        return honest(request)
    except Refuse as error:
        if "top-left" not in str(error):
            raise
        return honest(changed(request, record={**request.record, "objects": request.record["objects"][::-1]}))
