"""How faults of Channel-B are made: weight and gradient of some tokens of the honest answer, scaled; and the run that
faults of its being repeated break."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases.asking import segments
from coordexp_audit_lib.boundaries.supervision.predicates.running import Repeated
from coordexp_audit_lib.boundaries.supervision.predicates.targets import IGNORED, Supervised
from coordexp_audit_lib.boundaries.supervision.surfaces import ChannelBRequest, SegmentB
from coordexp_audit_lib.core.fault import Honest

Touch = Callable[[Supervised, int], bool]
Break = Callable[[Any, Honest], Any]


def scaled(where: Touch, factor: float | Callable[[ChannelBRequest], float]) -> Break:
    """Scale the tokens for which `where(segment, position)` holds: 0 masks them, 1 supervises those that were not."""

    def apply(request: ChannelBRequest, honest: Honest) -> Any:
        answer, by = honest(request), factor(request) if callable(factor) else factor
        return replace(answer, segments=[_scaled(one, where, by) for one, _ in segments(request, answer)])

    return apply


def _scaled(one: Supervised, where: Touch, factor: float) -> SegmentB:
    segment = one.segment
    hit = {p for p in range(len(segment.text_grad)) if where(one, p)}
    unit = max(segment.share, default=0.0)

    def moved(values: list[float]) -> list[float]:
        return [(v or unit) * factor if p in hit else v for p, v in enumerate(values)]

    def named(values: list[int], none: int) -> list[int]:
        pairs = enumerate(zip(segment.ids, values, strict=False))
        return [(t if factor else none) if p in hit else k for p, (t, k) in pairs]

    labels, raised = named(segment.labels, IGNORED), named(segment.raised, -1)
    share, text_grad = moved(segment.share), moved(segment.text_grad)
    return replace(segment, labels=labels, raised=raised, share=share, text_grad=text_grad)


def of_fate(one: Supervised, p: int, *fates: str) -> bool:
    """Whether the token touches a record of such a fate."""
    return any(one.reading.fates[i] in fates for i in one.reading.view.tokens[p].objects)


def roles(one: Supervised, p: int) -> tuple[str, ...]:
    return one.reading.view.tokens[p].roles


def each(**changes: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """For `answered(segments=…)` and `answered(passes=…)`: what to make of each field of each of them."""
    return lambda listed: [replace(x, **{n: made(x) for n, made in changes.items()}) for x in listed]


def sound_repeat() -> Repeated:
    """A run of three steps, and the same once more."""
    return Repeated([2.0, 1.5, 1.25], [2.0, 1.5, 1.25], "a", "a", 3, 3)
