"""The claims about the assistant text that a record becomes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.geometry import cases, contract, rendered
from coordexp_audit_lib.boundaries.geometry.judging import BOUNDARY, FIELD_ORDERS, violations
from coordexp_audit_lib.core.claim import Context, invariant
from coordexp_audit_lib.core.finding import Violation

Rendered = tuple[dict[str, Any], str, str | Violation]


def _rendered(ctx: Context, ordering: str) -> Iterator[Rendered]:
    """Records of 0 to 200 objects and the real ones, with their text (or its refusal) in both field orders.

    Raises:
        TargetRefused: every record is refused; then something else is wrong than what the claims are about.
    """
    records = [cases.record(ctx.rng(n), n, ordered=ordering == "sorted") for n in (0, 1, 2, 3, 5, 8, 20, 60, 200)]
    twice = cases.record(ctx.rng("twice"), 3)
    twice["objects"].insert(1, dict(twice["objects"][0]))
    refused: list[Rendered] = []
    for record in (*records, twice, *map(cases.real_record, cases.real_boxes())):
        for order in FIELD_ORDERS:
            request = contract.RenderRequest(record, order, ordering, max_pixels=record["width"] * record["height"])
            answer = ctx.ask(contract.RENDER, request)
            if answer.refusal is None:
                yield record, order, answer.value.text
            else:
                refused.append((record, order, _refused(record, f"{order}, {ordering}", answer.refusal.message)))
    if len(refused) == len(FIELD_ORDERS) * (len(records) + 1 + len(cases.real_boxes())):
        _ = answer.value
    yield from refused


def _refused(record: dict[str, Any], orders: str, message: str) -> Violation:
    subject = f"{len(record['objects'])} objects, {orders}"
    return Violation(f"a sound record is refused ({subject})", subject, "rendered", message, record["objects"][:3])


@invariant(
    "geometry.never_dropped",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="Every object and coordinate of a record reaches the rendered assistant text, exactly once.",
    remedy="Render every object; what cannot be rendered must be an error, not a gap.",
    spec="openspec/specs/coord-utils/spec.md (non-destructive, order-preserving); docs/data/JSONL_CONTRACT.md",
)
def never_dropped(ctx: Context) -> Iterator[Violation]:
    for ordering in ("sorted", "random"):
        for record, order, text in _rendered(ctx, ordering):
            ctx.judged(1 + len(record["objects"]))
            if isinstance(text, Violation):
                yield text
                continue
            subject = f"{len(record['objects'])} objects, {order}, {ordering}"
            yield from violations(rendered.dropped(record, text), subject, record["objects"][:3])


@invariant(
    "geometry.never_reordered",
    boundary=BOUNDARY,
    severity="P0",
    kind="B",
    claim="Coordinates keep their order inside an object; objects keep the order that object_ordering sets, and an "
    "unsorted record is refused under sorted; object_field_order changes key order only.",
    remedy="Copy coordinate lists as they are; assert the top-left order instead of sorting.",
    spec="openspec/specs/object-field-ordering/spec.md; docs/data/JSONL_CONTRACT.md (ordering invariant)",
)
def never_reordered(ctx: Context) -> Iterator[Violation]:
    for ordering in ("sorted", "random"):
        first: list[str] | None = None
        for record, order, text in _rendered(ctx, ordering):
            ctx.judged(1 + len(record["objects"]))
            if isinstance(text, Violation):
                yield text
                continue
            subject = f"{len(record['objects'])} objects, {order}, {ordering}"
            yield from violations(rendered.reordered(record, text, order, ordering), subject, record["objects"][:3])
            descs = [s.desc for s in rendered.read(text)]
            if order == FIELD_ORDERS[0]:
                first = descs
            elif first is not None and sorted(first) == sorted(descs) and descs != first:
                yield Violation("object_field_order changes the order of objects", subject, first, descs)
    yield from _unsorted(ctx)


def _unsorted(ctx: Context) -> Iterator[Violation]:
    """Neighbours that are out of top-left order in y, in x only, or by a polygon's tight box."""
    pairs = (
        ("y", {"bbox_2d": [0, 11, 5, 20]}, {"bbox_2d": [0, 10, 5, 20]}),
        ("x at equal y", {"bbox_2d": [11, 10, 50, 20]}, {"bbox_2d": [10, 10, 50, 20]}),
        ("y of a polygon", {"poly": [5, 90, 9, 99, 1, 95]}, {"poly": [5, 99, 9, 95, 1, 89]}),
        ("x of a polygon at equal y", {"poly": [9, 10, 30, 40, 8, 60]}, {"poly": [9, 10, 30, 40, 7, 60]}),
        ("numbers, not text", {"bbox_2d": [0, 100, 5, 200]}, {"bbox_2d": [0, 99, 5, 200]}),
    )
    for name, first, second in pairs:
        items = [
            {"desc": f"object {i}", **{k: cases.tokens(v) for k, v in g.items()}} for i, g in enumerate((first, second))
        ]
        for objects, sorted_ in ((items, False), (items[::-1], True), ([items[0], items[0]], True)):
            ctx.judged()
            record = {**cases.sound(index=0), "objects": copy.deepcopy(objects)}
            refused = ctx.ask(contract.RENDER, contract.RenderRequest(record)).refused
            if refused == sorted_:
                state = (
                    "is refused though its objects are in" if sorted_ else "is accepted though its objects are out of"
                )
                message = f"a record {state} top-left order ({name})"
                verdicts = ("accepted", "refused") if sorted_ else ("refused", "accepted")
                yield Violation(message, name, *verdicts, counterexample=[first, second])
