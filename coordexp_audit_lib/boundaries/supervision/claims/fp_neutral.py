"""The tokens of an object that no ground truth matches have zero weight in every term, and zero gradient; where the
contract lets such an object share in the supervision of structure, its desc and coordinates have none.

A false positive stands in the prefix because the model said it. Supervising any of its tokens makes it likelier that
the model says it again; a penalty on them makes it silent where the annotation may only be incomplete. Neither is
wanted.

What leads into it teaches to go on to it too; where that token also ends a matched object, masking it is advice.

Example: of an unmatched `{"desc": "bird", …}` not even the opening brace carries a label."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.supervision.cases import rollouts
from coordexp_audit_lib.boundaries.supervision.cases.asking import over
from coordexp_audit_lib.boundaries.supervision.faults import of_fate, roles, scaled
from coordexp_audit_lib.boundaries.supervision.predicates import targets
from coordexp_audit_lib.boundaries.supervision.predicates.reading import FALSE
from coordexp_audit_lib.boundaries.supervision.predicates.roles import DESC, STRUCTURE
from coordexp_audit_lib.boundaries.supervision.surfaces import CHANNEL_B
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.finding import Violation


@claim(
    severity="P0",
    kind="B",
    remedy="Leave out every token that covers a byte of an unmatched object, also one that reaches into its neighbour.",
)
def fp_neutral(ctx: Context) -> Iterator[Violation]:
    yield from over(ctx, rollouts.targets(), targets.neutral)
    yield from over(ctx, rollouts.targets(), targets.leading)


fp_neutral.on(targets.Supervised, targets.neutral)

fault(fp_neutral, "false_positives_supervised", CHANNEL_B, "The opening brace of an unmatched object is supervised.")(
    scaled(lambda one, p: of_fate(one, p, FALSE) and STRUCTURE in roles(one, p), 1.0)
)


def _leads(one: targets.Supervised, p: int) -> bool:
    return any(p in one.reading.view.between(i) for i in one.reading.with_fate(FALSE))


_LEADING = "The token that ends a matched object and leads into a false positive is supervised."
fault(fp_neutral, "leading_supervised", CHANNEL_B, _LEADING)(
    scaled(lambda one, p: _leads(one, p) and not of_fate(one, p, FALSE), 1.0)
)

_DESC = "The desc of an unmatched object is supervised."
fault(fp_neutral, "false_desc_supervised", CHANNEL_B, _DESC)(
    scaled(lambda one, p: of_fate(one, p, FALSE) and DESC in roles(one, p), 1.0)
)
