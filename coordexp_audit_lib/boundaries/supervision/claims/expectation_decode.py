"""Boxes are decoded as the sum of p(k) k/999 from the logits at p-1; a two-peak distribution gives the mean.

The geometry loss is a loss of this number. Argmax has no gradient, division by 1000 shrinks every box, and logits at p
instead of p-1 are those that have seen the answer.

Example: half the mass on bin 0 and half on bin 999 decodes to 0.5."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp
from statistics import median

from coordexp_audit_lib.boundaries.supervision.cases import rollouts
from coordexp_audit_lib.boundaries.supervision.cases.asking import rules, segments
from coordexp_audit_lib.boundaries.supervision.faults import each
from coordexp_audit_lib.boundaries.supervision.predicates.reading import FALSE
from coordexp_audit_lib.boundaries.supervision.predicates.targets import Supervised
from coordexp_audit_lib.boundaries.supervision.surfaces import CHANNEL_B, DECODE, Coords, DecodeRequest
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import answered, asked, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.boxes import decode

Peaks = list[tuple[int, float]]
PEAKS: dict[float, list[tuple[Peaks, float]]] = {  # by temperature: peaks, and the coordinate that they mean
    1.0: [
        ([(0, 0.0), (999, 0.0)], 0.5),
        ([(0, 0.0)], 0.0),
        ([(999, 0.0)], 1.0),
        ([(500, 0.0)], decode(500)),
        ([(100, 0.0), (200, 0.0), (900, 0.0)], decode(400)),
        ([(10, 1.0), (990, 1.0)], decode(500)),
    ],
    2.0: [([(0, 0.0), (999, 2.0)], 1 / (1 + exp(-1)))],
}


@claim(
    severity="P0",
    kind="B",
    remedy="Take the expectation over the thousand coordinate logits one position before the slot.",
)
def expectation_decode(ctx: Context) -> Iterator[Problem]:
    for temperature, peaks in PEAKS.items():
        coords = ctx.value(DECODE, DecodeRequest([s for s, _ in peaks], -60.0, temperature)).coords
        for (slot, wanted), got in zip(peaks, coords, strict=True):
            ctx.judged()
            # Answers have four digits; dividing by 1000 is off by 0.001 at the last bin.
            if got is None or abs(got - wanted) > 2e-4:
                name = f"{slot} at temperature {temperature:g}"
                yield Problem("the decoded coordinate is not the expectation", name, round(wanted, 4), got, slot)
    yield from _aimed(ctx)


def _aimed(ctx: Context) -> Iterator[Problem]:
    off: list[int] = []
    for case in rollouts.targets()[:3]:
        for one, _ in segments(case.request, ctx.value(CHANNEL_B, case.request), **rules(ctx)):
            for p, k in _slots(one):
                ctx.judged()
                target = one.segment.targets[p]
                off += [target - k] if k > 550 else []
                # The target solves out of the gradient only if the loss is that of the expectation at p-1.
                if abs(target - k) > 1:
                    message = "the loss is not one of the expectation at p-1"
                    yield Problem(message, f"{case.name}: {one.place(p)}", k, target)
    if not off:
        ctx.left_out("the loss", "no slot of an upper bin came back")
    # One bin is the measure's own error, but not the same way in most slots: k/1000 for k/999 is one bin at the end.
    elif median(off) != 0:
        message = "targets are off by the same step at the upper bins: they are not k/999"
        yield Problem(message, "bins over 550", 0, median(off), sorted(off))


def _slots(one: Supervised) -> Iterator[tuple[int, int]]:
    """Positions of the supervised coordinates, each with its ground truth's bin."""
    for index in range(len(one.reading.gts)):
        if one.reading.fates[index] != FALSE:
            yield from one.aims(index)


fault(expectation_decode, "argmax_decode", DECODE, "A coordinate is the likeliest bin, not the mean.")(
    lambda request, honest: Coords([decode(max(slot, key=lambda peak: peak[1])[0]) for slot in request.slots])
)
fault(expectation_decode, "decoded_by_1000", DECODE, "The mean bin is divided by 1000.")(
    answered(coords=lambda a: [None if c is None else float(f"{c * 0.999:.4g}") for c in a.coords])
)
fault(expectation_decode, "temperature_ignored", DECODE, "Coordinates are decoded at temperature 1, whatever is set.")(
    asked(temperature=lambda _: 1.0)
)
_GRADIENT = "The loss holds ground-truth bin k for k/1000, while it decodes by 999."
_BY_1000 = each(targets=lambda s: [k if k < 0 else round(k * 0.999) for k in s.targets])
fault(expectation_decode, "gradient_by_1000", CHANNEL_B, _GRADIENT)(answered(segments=lambda b: _BY_1000(b.segments)))
