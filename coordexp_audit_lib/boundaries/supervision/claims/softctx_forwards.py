"""Channel-A runs exactly n_softctx_iter forwards, updates coordinate-slot embeddings only (all other rows bitwise
equal) from the logits at p-1, and passes exactly one of ids and embeddings, without cache.

Soft self-context stands for the model's own coordinates at inference. An embedding from the logits at p has seen the
answer, another row that changes is noise in the text, and a cache makes the second forward see the first one's keys.

Example: with three iterations there are three forwards; in the second and third only the rows of `<|coord_k|>`
differ."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases.asking import channel_a, said
from coordexp_audit_lib.boundaries.supervision.predicates.targets import size
from coordexp_audit_lib.boundaries.supervision.surfaces import CHANNEL_A, ChannelA, ChannelARequest, Pass
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, answered, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.surface import Refuse

TOLERANCE = 1e-4  # of an embedding against the expectation


@claim(
    severity="P0",
    kind="B",
    remedy="Rebuild the embeddings from the ids in every iteration and scatter the expectation into the slots only.",
)
def softctx_forwards(ctx: Context) -> Iterator[Problem]:
    for name, request in channel_a(ctx):
        found = ctx.ask(CHANNEL_A, request)
        if found.content is None:
            ctx.judged()
            yield Problem("a step of Channel-A is refused", name, "a loss", said(found))
            continue
        answer = found.content
        if len(answer.passes) != request.n_iter:
            yield Problem("the number of forwards is wrong", name, request.n_iter, len(answer.passes))
        for n, one in enumerate(answer.passes):
            ctx.judged()
            yield from _one_forward(f"{name}, forward {n}", one, answer.slots if n else [])


def _one_forward(where: str, one: Pass, slots: list[int]) -> Iterator[Problem]:
    """slots: those whose embeddings must be new, none in the first forward."""
    if one.ids == one.embeds:
        yield Problem("not exactly one of ids and embeddings", where, "one", [one.ids, one.embeds])
    if one.use_cache or one.past:
        yield Problem("a forward uses the cache", where, False, True)
    if one.changed != slots:
        yield Problem("other rows than the coordinate slots changed", where, slots[:8], one.changed[:8])
    if slots and (one.update_error is None or one.update_error > TOLERANCE):
        actual = {"p-1": size(one.update_error, TOLERANCE), "p": size(one.update_error_unshifted, TOLERANCE)}
        yield Problem("the slots are not the expectation under the logits at p-1", where, "zero at p-1", actual)


def _turned(answer: ChannelA) -> list[Pass]:
    each = ((p, p.update_error, p.update_error_unshifted) for p in answer.passes)
    return [replace(p, update_error=unshifted, update_error_unshifted=right) for p, right, unshifted in each]


fault(softctx_forwards, "one_forward_less", CHANNEL_A, "The last iteration is skipped.")(
    answered(passes=lambda a: a.passes[: max(1, len(a.passes) - 1)])
)
fault(softctx_forwards, "unshifted_update", CHANNEL_A, "The slots are filled from the logits at p, not at p-1.")(
    answered(passes=_turned)
)


_STOPS = "Channel-A gives ids and embeddings at once, which the model refuses."


@fault(softctx_forwards, "channel_a_stops", CHANNEL_A, _STOPS)
def _stops(request: ChannelARequest, honest: Honest) -> ChannelA:
    raise Refuse("exactly one of input_ids and inputs_embeds")
