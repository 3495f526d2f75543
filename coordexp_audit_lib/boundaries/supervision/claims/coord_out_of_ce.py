"""Coordinate tokens never enter the text's cross-entropy, in either channel.

Coordinates are supervised as an expectation over a thousand bins. The text's cross-entropy on top punishes the
neighbouring bin as hard as the far one, and pays twice for the same token. A term over the bins alone that a config
asks for by a weight of its own, of whatever form, is not the text's and is not judged here.

Example: the four `<|coord_k|>` of a box have the label -100, and no gradient on the ordinary columns."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases import rollouts
from coordexp_audit_lib.boundaries.supervision.cases.asking import over, passes
from coordexp_audit_lib.boundaries.supervision.faults import scaled
from coordexp_audit_lib.boundaries.supervision.predicates import targets
from coordexp_audit_lib.boundaries.supervision.predicates.roles import is_coordinate
from coordexp_audit_lib.boundaries.supervision.surfaces import CHANNEL_A, CHANNEL_B, ChannelA, Pass
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.problem import Problem


@claim(severity="P0", kind="B", remedy="Mask the labels of the thousand coordinate ids in both channels.")
def coord_out_of_ce(ctx: Context) -> Iterator[Violation | Problem]:
    yield from over(ctx, rollouts.targets(), targets.coordinates_out)
    for name, _, answer in passes(ctx):
        before = {p - 1 for p in answer.slots}
        for n, one in enumerate(answer.passes):
            ctx.judged(len(before))
            reached = sorted(before & set(one.text_rows))
            if reached:
                yield Problem("cross-entropy reaches a coordinate slot", f"{name}, forward {n}", [], reached[:5])


coord_out_of_ce.on(targets.Supervised, targets.coordinates_out)

fault(coord_out_of_ce, "coordinates_in_ce", CHANNEL_B, "Coordinate tokens keep their labels.")(
    scaled(lambda one, p: is_coordinate(one.segment.ids[p]), 1.0)
)

_APPENDED = "The coordinate tokens of appended objects keep their labels."
fault(coord_out_of_ce, "appended_coordinates_in_ce", CHANNEL_B, _APPENDED)(
    scaled(lambda one, p: p >= one.segment.prefix_len and is_coordinate(one.segment.ids[p]), 1.0)
)


def _at_slots(answer: ChannelA) -> list[Pass]:
    first, *others = answer.passes
    return [replace(first, text_rows=sorted({*first.text_rows, *(p - 1 for p in answer.slots)})), *others]


fault(coord_out_of_ce, "slots_in_ce", CHANNEL_A, "Channel-A's coordinate slots keep their labels.")(
    answered(passes=_at_slots)
)
