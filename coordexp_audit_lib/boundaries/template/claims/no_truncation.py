"""A sample longer than the limit is an error under truncation_strategy raise; none is cut inside the assistant turn.

A sample that is cut supervises an answer that never ends, with its last objects missing: the model learns to leave out
what crowded pictures are full of, and recall falls where the metric counts most. Nothing in the loss shows it.

Example: under `right` a sample of 14,431 tokens at a limit of 12,000 loses 2,431 supervised tokens; under `raise` it is
an error that names the limit. To ask for it is the config's own choice, and that it should not is our advice."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.template import surfaces as s
from coordexp_audit_lib.boundaries.template.artifact import BatchSamples
from coordexp_audit_lib.boundaries.template.predicates import batches
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, asked, fault
from coordexp_audit_lib.core.problem import Problem

SETTLED = 1_000_000
TOKENS_PER_OBJECT = 20  # fewer than any object takes


@claim(
    severity="P1",
    kind="B",
    per_config=True,
    remedy="Set template.truncation_strategy to raise, and filter samples above global_max_length out before training.",
)
def no_truncation(ctx: Context) -> Iterator[Problem]:
    settings = ctx.value(s.SETTINGS, s.SettingsRequest(ctx.target.config_path(ctx.config)))
    ctx.fact("truncation_strategy", settings.strategy)
    ctx.fact("limit in tokens", settings.max_length)
    whole = ctx.value(s.LIMIT, s.LimitRequest(8, SETTLED, "raise")).whole_length
    for limit in (whole, whole + 1):
        yield from _whole(ctx, s.LimitRequest(8, limit, settings.strategy))
    for limit in (whole - 1, whole - 60):
        yield from _beyond(ctx, s.LimitRequest(8, limit, "raise"))
    if settings.max_length is None:
        ctx.left_out("the config's own limit", "it sets none")
    else:
        beyond = settings.max_length // TOKENS_PER_OBJECT
        yield from _beyond(ctx, s.LimitRequest(beyond, settings.max_length, settings.strategy))


no_truncation.on(BatchSamples, batches.begun_at_a_turn)


def _whole(ctx: Context, request: s.LimitRequest) -> Iterator[Problem]:
    """A sample that fits is encoded whole."""
    ctx.judged()
    answer = ctx.ask(s.LIMIT, request)
    if answer.refused:
        yield Problem("a sample that fits the limit is refused", _name(request), "encoded", answer.refusal, request)
    elif answer.value.length != answer.value.whole_length or not answer.value.ended:
        yield Problem("a sample that fits the limit is cut", _name(request), None, answer.value.length, request)


def _beyond(ctx: Context, request: s.LimitRequest) -> Iterator[Problem]:
    """A sample above the limit is an error under `raise`, and never cut inside its answer."""
    answer = ctx.offered(_name(request), s.LIMIT, request)
    if answer is None:
        return
    if not answer.refused and answer.value.whole_length <= request.max_length:
        ctx.left_out(f"a sample above the limit of {request.max_length}", f"{request.objects} objects are none")
        return
    ctx.judged()
    if answer.refused:
        return
    made, case = answer.value, {"objects": request.objects, "limit": request.max_length, "strategy": request.strategy}
    if made.answer < made.whole_answer or not made.ended:
        lost = made.whole_answer - made.answer
        yield Problem(
            f"under truncation_strategy {request.strategy} a sample of {made.whole_length} tokens is cut to "
            f"{made.length} inside the assistant turn: {lost} supervised tokens are lost without an error",
            _name(request),
            {"answer": made.whole_answer, "ended": True},
            {"answer": made.answer, "ended": made.ended},
            case,
            authority=None if request.strategy == "raise" else "practice",  # the config asks for it
        )
    elif request.strategy == "raise":
        yield Problem("a sample above the limit is encoded", _name(request), "an error", made.length, case)


def _name(request: s.LimitRequest) -> str:
    return f"limit {request.max_length}, {request.strategy}"


@fault(no_truncation, "raise_cuts", s.LIMIT, "a sample above the limit is cut although the strategy is to raise")
def raise_cuts(request: s.LimitRequest, honest: Honest) -> s.Limit:
    whole: s.Limit = honest(replace(request, max_length=10 * SETTLED))
    length = min(request.max_length, whole.whole_length)
    lost = whole.whole_length - length
    return replace(whole, length=length, answer=whole.whole_answer - lost, ended=lost < 2)


fault(no_truncation, "limit_off_by_one", s.LIMIT, "a sample that is exactly as long as the limit is refused")(
    asked(max_length=lambda request: request.max_length - 1)
)
