"""Ask Channel-B every case and judge each of its segments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from coordexp_audit_lib.boundaries.supervision import judge
from coordexp_audit_lib.boundaries.supervision.contract import CHANNEL_B, Sample, SegmentB
from coordexp_audit_lib.boundaries.supervision.inputs import Case
from coordexp_audit_lib.boundaries.supervision.reading import Reading, read
from coordexp_audit_lib.core.claim import Context
from coordexp_audit_lib.core.finding import Violation

Judged = Callable[[Case, SegmentB, Reading, Sample], Iterable[judge.Problem]]


def over(ctx: Context, cases: list[Case], judged: Judged) -> Iterator[Violation]:
    """Ask every case and judge each of its segments; a refusal of a case that must become a target is a violation."""
    for case in cases:
        found = ctx.ask(CHANNEL_B, case.request)
        if found.refused:
            ctx.judged()
            refusal = found.refusal
            what = f"{refusal.type}: {refusal.message[:200]}" if refusal else ""
            yield Violation(
                "the step is refused although the rollout must become a target", case.name, "a target", what
            )
            continue
        for segment, sample in zip(found.value.segments, case.request.samples, strict=False):
            ctx.judged(len(segment.ids))
            reading = read(segment, sample, case.request.order)
            for message, subject, expected, actual in judged(case, segment, reading, sample):
                shown_text = reading.view.text.decode("utf-8", "replace")
                yield Violation(message, f"{case.name}: {subject}", expected, actual, shown_text)
