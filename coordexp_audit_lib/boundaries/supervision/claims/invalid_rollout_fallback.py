"""An unparsable rollout is counted, falls back to the canonical empty prefix, and still trains every ground truth.

Early in training most rollouts are unparsable. Raising stops the run, skipping removes from training exactly the
samples on which the model is worst, and uncounted neither is seen in the log.

Example: the rollout `I see a cat.` becomes `{"objects": [` with every ground truth appended, and is counted once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.supervision.cases import rollouts
from coordexp_audit_lib.boundaries.supervision.cases.asking import said, segments
from coordexp_audit_lib.boundaries.supervision.cases.rollouts import Case
from coordexp_audit_lib.boundaries.supervision.predicates.roles import text_of
from coordexp_audit_lib.boundaries.supervision.predicates.targets import complete
from coordexp_audit_lib.boundaries.supervision.reference.target import keep
from coordexp_audit_lib.boundaries.supervision.surfaces import CHANNEL_B, ChannelB, ChannelBRequest
from coordexp_audit_lib.core.claim import Context, Ledger, claim
from coordexp_audit_lib.core.fault import Honest, answered, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.surface import Refuse

EMPTY_PREFIXES = (b'{"objects": [', b'{"objects":[', b"{")


@claim(
    severity="P0",
    kind="B",
    remedy="Treat whatever can't be brought into an append-ready prefix as an invalid rollout; do not raise.",
)
def invalid_rollout_fallback(ctx: Context) -> Iterator[Problem]:
    for case in [*rollouts.unparsable(), rollouts.junk_before(), *rollouts.inside_or_behind()]:
        ctx.judged()
        found = ctx.ask(CHANNEL_B, case.request)
        text = text_of(case.request.samples[0].rollout).decode("utf-8", "replace")
        if found.content is None:
            message = "the step is refused instead of falling back"
            yield Problem(message, case.name, "fallback", said(found), text)
        elif not found.content.segments:
            message = "a sample with an unparsable rollout is left out: its ground truth is not trained"
            yield Problem(message, case.name, "a segment", "none", text, severity="P1")
        else:
            yield from _fallen_back(ctx, case, found.content, text)
    yield from _each_counted(ctx)


def _each_counted(ctx: Context) -> Iterator[Problem]:
    """Two of them in one batch are two."""
    found = ctx.ask(CHANNEL_B, rollouts.two_unparsable())
    if found.content is None:
        return  # what is refused is told of each by itself
    ctx.judged()
    counted = found.content.metrics.get(ctx.contract["supervision.counters"]["invalid"])
    if counted != 2:
        message = "the unparsable rollouts of a batch are not counted one by one"
        yield Problem(message, "two in one batch", 2, counted, severity="P1")


def _fallen_back(ctx: Context, case: Case, answer: ChannelB, text: str) -> Iterator[Problem]:
    one = next(one for one, _ in segments(case.request, answer))
    for p in complete(one, Ledger()):
        yield Problem(p.message, f"{case.name}: {p.subject}", p.expected, p.actual, text)
    if case.recoverable and not one.segment.invalid and ctx.contract.get("supervision.prefix") == "clean":
        return  # what the container holds is written anew, so that the text before it is not in the target
    counted = answer.metrics.get(ctx.contract["supervision.counters"]["invalid"])
    if counted != 1 or not one.segment.invalid:
        actual = [counted, one.segment.invalid]
        yield Problem("an unparsable rollout is not counted", case.name, [1, True], actual, text, severity="P1")
    kept = text_of(one.segment.ids[: one.segment.prefix_len])
    if not any(p.startswith(kept.rstrip()) for p in EMPTY_PREFIXES):
        said = kept.decode("utf-8", "replace")
        yield Problem("the prefix is not the canonical empty one", case.name, "empty", said, severity="P1")
    if case.request.backward and not any(v > 0 for v in one.segment.coord_grad):
        yield Problem("the fallback target trains nothing", case.name, "not zero", "zero", text)


@fault(invalid_rollout_fallback, "unparsable_raises", CHANNEL_B, "A rollout without a container stops the training.")
def _raises(request: ChannelBRequest, honest: Honest) -> Any:
    if any(keep(s.rollout, request.order).invalid for s in request.samples):
        raise Refuse("no container in the rollout")
    return honest(request)


_LEFT_OUT = "A sample whose rollout has no container is left out of the batch."
fault(invalid_rollout_fallback, "unparsable_left_out", CHANNEL_B, _LEFT_OUT)(
    answered(segments=lambda b: [s for s in b.segments if not s.invalid])
)

fault(invalid_rollout_fallback, "unparsable_uncounted", CHANNEL_B, "No rollout is counted as unparsable.")(
    answered(metrics=lambda b: dict.fromkeys(b.metrics, 0.0))
)

fault(invalid_rollout_fallback, "unparsable_counted_once", CHANNEL_B, "A batch counts one unparsable rollout at most.")(
    answered(metrics=lambda b: {name: min(v, 1.0) if v else v for name, v in b.metrics.items()})
)
