"""`unroll` carries gradient through every iteration, through the logits and the embedding table of each expectation;
`em_detach` detaches the soft embeddings and still gives cross-entropy a gradient.

The two modes are two objectives. An `unroll` that detaches is the other one under its name; an `em_detach` whose first
forward is not tracked trains no text at all, while its loss is still logged.

Example: with three forwards and `unroll`, the slots of the first have a gradient; with `em_detach` they have none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases.asking import passes
from coordexp_audit_lib.boundaries.supervision.faults import each
from coordexp_audit_lib.boundaries.supervision.surfaces import CHANNEL_A, ChannelARequest
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, answered, fault
from coordexp_audit_lib.core.problem import Problem


@claim(
    severity="P0",
    kind="B",
    remedy="Run the first forward with gradients in both modes, and detach the expectation in `em_detach` only.",
)
def softctx_gradient(ctx: Context) -> Iterator[Problem]:
    for name, request, answer in passes(ctx, iterated=True):
        ctx.judged(len(answer.passes))
        if not any(p.text_rows for p in answer.passes):
            why = "" if answer.passes[0].tracked else ": the first forward is not tracked"
            yield Problem(f"cross-entropy has no gradient{why}", name, "not zero", "zero")
        # What follows a segment's last slot is no slot, so that its embedding need not be reached, and with each
        # iteration further back one more slot need not be.
        for n, one in enumerate(answer.passes[:-1]):
            where, reached = f"{name}, forward {n}", one.slots_reached
            least = len(answer.slots) - len(answer.segments) * (len(answer.passes) - 1 - n)
            if request.grad_mode == "unroll" and reached < least:
                yield Problem("no gradient flows back through the iteration", where, least, reached)
            if request.grad_mode == "em_detach" and reached:
                yield Problem("a detached embedding carries gradient", where, 0, reached)
        for n, rows in enumerate(answer.tables or (), 1):
            ctx.judged()
            if not rows:
                message = "the embedding table gets no gradient from the expectations that are made of it"
                yield Problem(message, f"{name}, forward {n}", "rows with a gradient", 0, severity="P1")


_UNTRACKED = "em_detach runs all but the last forward without gradient, so that cross-entropy has none."


@fault(softctx_gradient, "first_forward_untracked", CHANNEL_A, _UNTRACKED)
def _untracked(request: ChannelARequest, honest: Honest) -> Any:
    answer = honest(request)
    last = len(answer.passes) - 1 if request.grad_mode == "em_detach" else 0
    quiet = [replace(p, tracked=False, text_rows=[], text_grad=0.0) for p in answer.passes[:last]]
    return replace(answer, passes=[*quiet, *answer.passes[last:]])


_DETACHED = each(slots_reached=lambda _: 0, slot_grad=lambda _: 0.0)
fault(softctx_gradient, "unroll_detached", CHANNEL_A, "unroll detaches the expected embeddings.")(
    answered(passes=lambda a: [*_DETACHED(a.passes[:-1]), a.passes[-1]])
)

fault(softctx_gradient, "table_detached", CHANNEL_A, "unroll detaches the table that the expectations are made of.")(
    answered(tables=lambda a: a.tables and [0] * len(a.tables))
)


@fault(softctx_gradient, "em_attached", CHANNEL_A, "em_detach lets gradient flow through the embeddings.")
def _attached(request: ChannelARequest, honest: Honest) -> Any:
    answer = honest(request)
    if request.grad_mode != "em_detach":
        return answer
    reached = [replace(p, slots_reached=len(answer.slots), slot_grad=1.0) for p in answer.passes[:-1]]
    return replace(answer, passes=[*reached, answer.passes[-1]])
