"""No helper key (labels, loss_scale, text_position_ids, channel, …) reaches the model's forward.

A model that gets labels computes a loss of its own; one that gets an unknown keyword passes it on until a kernel reads
it as something else, or a later version of the library gives it a meaning.

Example: the forward gets `input_ids`, `attention_mask`, `position_ids`, pixels and grids, and no `labels`."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.supervision.cases import rollouts
from coordexp_audit_lib.boundaries.supervision.cases.asking import passes
from coordexp_audit_lib.boundaries.supervision.surfaces import CHANNEL_B
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.problem import Problem


@claim(severity="P1", kind="B", remedy="Pass the model an allowlist of its own arguments.")
def no_helper_kwargs(ctx: Context) -> Iterator[Problem]:
    for name, kwargs in _calls(ctx):
        if not kwargs:
            ctx.left_out(name, "the forward's arguments can't be observed")
            continue
        ctx.judged()
        leaked = sorted(set(kwargs) & set(ctx.contract["supervision.helper_keys"]))
        if leaked:
            yield Problem("helper keys reach the model's forward", name, [], leaked)


def _calls(ctx: Context) -> Iterator[tuple[str, list[str]]]:
    """The names that each forward got with a value."""
    for case in rollouts.targets():
        answer = ctx.ask(CHANNEL_B, case.request).content
        if answer is not None:
            yield case.name, answer.kwargs
    for name, _, answered_ in passes(ctx):
        yield from ((name, one.kwargs) for one in answered_.passes)


fault(no_helper_kwargs, "labels_reach_forward", CHANNEL_B, "The batch's labels are passed to the model.")(
    answered(kwargs=lambda b: [*b.kwargs, "labels"])
)
