"""Every object and coordinate of a record reaches the rendered assistant text, exactly once.

What is missing from the text is supervised as absent: the model learns to end the list before the image's last objects,
and recall is lost where images are full. What stands twice supervises a duplicate.

Example: of 200 objects, 200 stand in the text; a cap of 100 is silent on all images with fewer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from coordexp_audit_lib.boundaries.geometry import cases
from coordexp_audit_lib.boundaries.geometry import surfaces as s
from coordexp_audit_lib.boundaries.geometry.faults import changed, objects
from coordexp_audit_lib.boundaries.geometry.predicates import text as predicates
from coordexp_audit_lib.boundaries.geometry.predicates.bins import named
from coordexp_audit_lib.boundaries.geometry.reference import text_of
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.surface import Refuse


@claim(severity="P0", kind="B", remedy="Render every object; what cannot be rendered must be an error, not a gap.")
def never_dropped(ctx: Context) -> Iterator[Violation | Problem]:
    for ordering in ("sorted", "random"):
        for record, _, name, text in cases.rendered(ctx, ordering):
            if isinstance(text, Violation):
                yield text
            else:
                yield from (named(p, name, record["objects"][:3]) for p in predicates.dropped(record, text))


def only(choose: Callable[[list[Any]], list[Any]]) -> Callable[[s.RenderRequest, Honest], Any]:
    """A sound record with some of its objects only."""
    return lambda request, honest: (
        honest(request)
        and honest(changed(request, record={**request.record, "objects": choose(request.record["objects"])}))
    )


fault(never_dropped, "capped", s.RENDER, "only the first hundred objects of an image reach the text")(
    only(lambda objects: objects[:100])
)
fault(never_dropped, "twins_merged", s.RENDER, "of two equal objects only one reaches the text")(
    only(lambda objects: [item for i, item in enumerate(objects) if item not in objects[:i]])
)
REORDERED = ("geometry.never_reordered",)


@fault(
    never_dropped,
    "geometry_first_refused",
    s.RENDER,
    "sound records are refused in one of the two field orders",
    also=REORDERED,
)
def geometry_first_refused(request: s.RenderRequest, honest: Honest) -> Any:
    if request.object_field_order == "geometry_first" and request.record["objects"]:
        raise Refuse("objects[0]: wrong key order")
    return honest(request)


@fault(
    never_dropped,
    "long_polygons_cut",
    s.RENDER,
    "a polygon of more than eight points loses its last one",
    also=REORDERED,
)
def long_polygons_cut(request: s.RenderRequest, honest: Honest) -> Any:
    honest(request)
    cut = objects(request.record, lambda values: values[:16], ("poly",))
    return s.RenderResponse(text_of(cut["objects"], request.object_field_order))
