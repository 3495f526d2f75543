"""Text cross-entropy uses the first forward's logits; geometry the last's.

Text is learned in the context of ground truth, geometry in the context of the model's own coordinates. Swapped, text
learns from blurred coordinates and geometry never leaves teacher forcing: the iterations cost time and change nothing.

Example: with three forwards, only the first has gradients at rows of text, and the last at every slot."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases.asking import passes
from coordexp_audit_lib.boundaries.supervision.predicates.roles import is_coordinate
from coordexp_audit_lib.boundaries.supervision.surfaces import CHANNEL_A, ChannelA, Pass
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.problem import Problem


@claim(
    severity="P0", kind="B", remedy="Keep the first forward's logits for cross-entropy and take geometry from the last."
)
def ce_from_first_forward(ctx: Context) -> Iterator[Problem]:
    for name, _, answer in passes(ctx):
        last, wanted = len(answer.passes) - 1, len(answer.slots)
        for n, one in enumerate(answer.passes):
            ctx.judged()
            if n > 0 and one.text_rows:
                yield Problem("cross-entropy reaches a later forward", f"{name}, forward {n}", 0, len(one.text_rows))
            if n == last and one.slots_reached != wanted:
                message = "geometry does not reach every slot of the last forward"
                yield Problem(message, f"{name}, last forward", wanted, one.slots_reached)
        rows = _text_rows(answer)
        if answer.passes[0].tracked and answer.passes[0].text_rows != rows:
            differ = sorted(set(rows) ^ set(answer.passes[0].text_rows))[:5]
            yield Problem("cross-entropy does not reach the first forward's text tokens", name, rows[:5], differ)


def _text_rows(answer: ChannelA) -> list[int]:
    """The rows that predict the assistant's tokens that are no coordinates."""
    return sorted(
        s.row * answer.length + s.start + s.prompt_len + p - 1
        for s in answer.segments
        for p, t in enumerate(s.ids)
        if not is_coordinate(t)
    )


def _turned(answer: ChannelA) -> list[Pass]:
    return [
        replace(p, text_rows=other.text_rows) for p, other in zip(answer.passes, reversed(answer.passes), strict=True)
    ]


fault(ce_from_first_forward, "ce_from_last_forward", CHANNEL_A, "Cross-entropy is taken from the last forward.")(
    answered(passes=_turned)
)


def _everywhere(answer: ChannelA) -> list[Pass]:
    first = answer.passes[0]
    return [replace(p, text_rows=first.text_rows, text_grad=first.text_grad) for p in answer.passes]


fault(ce_from_first_forward, "ce_from_every_forward", CHANNEL_A, "Cross-entropy is summed over all forwards.")(
    answered(passes=_everywhere)
)


def _teacher_forced(answer: ChannelA) -> list[Pass]:
    if len(answer.passes) < 2:
        return answer.passes
    first, *between, last = answer.passes
    moved = replace(first, slots_reached=last.slots_reached, slot_grad=last.slot_grad)
    return [moved, *between, replace(last, slots_reached=0, slot_grad=0.0)]


fault(ce_from_first_forward, "geometry_from_first_forward", CHANNEL_A, "Geometry is taken from the first forward.")(
    answered(passes=_teacher_forced)
)
