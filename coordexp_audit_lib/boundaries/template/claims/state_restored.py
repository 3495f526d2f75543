"""A per-sample system prompt does not leak to the next sample, also after an exception.

What a sample changes and does not put back is in force for all that follow it on that worker: their prompt is no longer
the one that the run is named after, and which samples it hits depends on the order of the data. Packing that stays off
after an error makes the same run slower and its batches other ones.

Example: plain, own prompt, plain: the third sample has the ids of the first; also where the second had no picture."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.template import cases, reference
from coordexp_audit_lib.boundaries.template import surfaces as s
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.problem import Problem


@claim(severity="P1", kind="B", remedy="Restore the template's settings in a finally block around the encode.")
def state_restored(ctx: Context) -> Iterator[Problem]:
    own = (s.STATE, "samples with a system prompt of their own", _encodes)
    yield from cases.judged_parts(ctx, own, (s.SWITCH, "the trainer's temporary states", _switches))


def _encodes(ctx: Context) -> Iterator[Problem]:
    applied = False
    for steps in cases.state_walks():
        made = ctx.value(s.STATE, s.StateRequest(steps))
        if not made.before or len(made.steps) != len(steps):
            ctx.left_out("samples with a system prompt of their own", "a step, or the template's state, is not told")
            continue
        first: dict[str | None, str] = {}
        for number, (step, told) in enumerate(zip(steps, made.steps, strict=True)):
            ctx.judged()
            case, where = {"steps": steps[: number + 1]}, f"step {number}"
            after = "a sample that failed" if step.fails else "a sample"
            left = sorted(k for k in made.before if told.state.get(k) != made.before[k])
            if left:
                message = f"{after} with a system prompt of its own leaves the template changed: {', '.join(left)}"
                yield Problem(message, where, made.before[left[0]], told.state.get(left[0]), case)
            if step.fails and not told.raised:
                yield Problem("a sample with an unreadable image raises nothing", where, "an error", "", case)
            if not step.fails and first.setdefault(step.system, told.ids) != told.ids:
                message = "the same sample is encoded differently after one with a system prompt of its own"
                yield Problem(message, where, first[step.system], told.ids, case)
        applied |= len(set(first.values())) > 1
    ctx.fact("a sample's own system prompt changes its tokens", applied)


def _switches(ctx: Context) -> Iterator[Problem]:
    changed = False
    for request in cases.switch_requests():
        made = ctx.value(s.SWITCH, request)
        ctx.judged()
        changed |= made.inside != made.before
        if made.before != made.after:
            when = "after an exception" if request.fails else "afterwards"
            message = f"a temporary template state is still on {when}"
            yield Problem(message, " in ".join(request.names[::-1]), made.before, made.after, request)
    if not changed:
        ctx.left_out("the trainer's temporary states", "none changes a setting")


@fault(state_restored, "leaks_after_exception", s.STATE, "a sample's own system prompt stays only if its encode raises")
def leaks_after_exception(request: s.StateRequest, honest: Honest) -> Any:
    made = honest(request)
    good = list(takewhile(lambda step: not step.raised, made.steps))
    leaked = [replace(step, state={**step.state, "system": "leaked"}) for step in made.steps[len(good) :]]
    return replace(made, steps=good + leaked)


fault(state_restored, "system_prompt_leaks", s.STATE, "a sample's own system prompt stays for the next sample")(
    lambda request, honest: reference.walk(reference.Template("Locate."), request, restores=False)
)
_STAYS_OFF = "packing stays off when an exception leaves the block that turned it off"
fault(state_restored, "packing_stays_off", s.SWITCH, _STAYS_OFF)(
    lambda request, honest: replace(made := honest(request), after=made.inside if request.fails else made.after)
)
