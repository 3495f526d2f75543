"""drop_invalid_struct_ce_multiplier touches structure tokens only, and only when something was dropped.

It answers broken records with more weight on form. Reaching the closure it shifts when the model stops, reaching descs
it changes the vocabulary, and where nothing was dropped it reweighs sound samples.

Example: with a polygon dropped and a multiplier of 2, the `{"` of an appended record weighs 2 and `<|im_end|>` 1."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases import rollouts
from coordexp_audit_lib.boundaries.supervision.cases.asking import first
from coordexp_audit_lib.boundaries.supervision.faults import of_fate, roles, scaled
from coordexp_audit_lib.boundaries.supervision.predicates.reading import APPENDED
from coordexp_audit_lib.boundaries.supervision.predicates.roles import DESC, STRUCTURE, is_coordinate
from coordexp_audit_lib.boundaries.supervision.predicates.targets import Supervised
from coordexp_audit_lib.boundaries.supervision.surfaces import CHANNEL_A, CHANNEL_B
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.problem import Problem


@claim(
    severity="P1",
    kind="B",
    remedy="Multiply the weights of structure tokens; leave out desc, coordinates and the closure.",
)
def multiplier_scope(ctx: Context) -> Iterator[Problem]:
    for case in rollouts.drops():
        plain, raised = (first(ctx, replace(case.request, multiplier=factor)) for factor in (1.0, 2.0))
        dropped = plain.segment.dropped
        for p, factor in _factors(plain, raised):
            ctx.judged()
            token = plain.reading.view.tokens[p]
            if abs(factor - 1) > 0.01 and (dropped == 0 or STRUCTURE not in token.roles):
                why = "" if dropped else " although nothing was dropped"
                asked = {"multiplier": 2.0, "dropped": dropped}
                message = f"the multiplier reaches a {token.role} token{why}"
                place = f"{case.name}: {plain.place(p)}"
                # Weights are set where the loss is computed, which is what answers for Channel-A.
                yield Problem(message, place, 1.0, round(factor, 2), asked, where=ctx.where(CHANNEL_A))


def _factors(plain: Supervised, raised: Supervised) -> Iterator[tuple[int, float]]:
    """By what a multiplier raised each supervised text token's weight, as (position, factor).

    Gradients scale with a token's weight over the sum of weights, so that raising some lowers the others: the unit is
    the token that gained least. What the template puts behind `<|im_end|>` has no role and is left out.
    """
    before, after = plain.segment.text_grad, raised.segment.text_grad
    ids, closing = plain.segment.ids, plain.reading.view.closing()
    end = closing[-1] if closing else len(ids) - 1
    ratios = {p: after[p] / before[p] for p in range(end + 1) if before[p] > 0 and not is_coordinate(ids[p])}
    unit = min((r for r in ratios.values() if r > 0), default=1.0)
    yield from ((p, r / unit) for p, r in ratios.items())


fault(multiplier_scope, "multiplier_everywhere", CHANNEL_B, "The structure multiplier reaches the closure.")(
    scaled(lambda one, p: p in one.reading.view.closing(), lambda request: request.multiplier)
)
fault(multiplier_scope, "desc_multiplied", CHANNEL_B, "The structure multiplier reaches the desc of appended objects.")(
    scaled(lambda one, p: of_fate(one, p, APPENDED) and roles(one, p) == (DESC,), lambda request: request.multiplier)
)
