"""Every ground truth is in the target exactly once (matched or appended); appended structure, desc and geometry are
supervised; the whole target parses in strict mode; field order follows the config.

Appending what the model missed is what raises recall. An object that is left out is silently forgotten in every step,
one that stands twice supervises a duplicate, and a target that does not parse supervises a form that evaluation drops.

Example: of three ground truths two are matched; the third stands behind the rollout's records, whole and
supervised."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases import rollouts
from coordexp_audit_lib.boundaries.supervision.cases.asking import over, with_overlap
from coordexp_audit_lib.boundaries.supervision.cases.rollouts import Case
from coordexp_audit_lib.boundaries.supervision.faults import of_fate, roles, scaled
from coordexp_audit_lib.boundaries.supervision.predicates import targets
from coordexp_audit_lib.boundaries.supervision.predicates.reading import APPENDED
from coordexp_audit_lib.boundaries.supervision.predicates.roles import DESC
from coordexp_audit_lib.boundaries.supervision.surfaces import CHANNEL_B
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import asked, fault
from coordexp_audit_lib.core.finding import Violation


@claim(
    severity="P0",
    kind="B",
    remedy="Append what was not matched, in the config's field order, behind a prefix that holds valid records only.",
)
def fn_injected(ctx: Context) -> Iterator[Violation]:
    yield from over(ctx, rollouts.targets(), targets.injected)
    yield from with_overlap(ctx, APPENDED)
    whole = [Case("300 ground truths", rollouts.crowd()), *rollouts.with_invalid_records()]
    for ids in rollouts.truncations():
        whole.append(Case(f"cut after {len(ids)} tokens", rollouts.one(rollouts.GT, ids, backward=False)))
    yield from over(ctx, whole, targets.sound)
    for seldom in (rollouts.coordinate_in_desc(), rollouts.without_ground_truth()):
        yield from (replace(v, severity="P1") for v in over(ctx, [seldom], targets.sound))


fn_injected.on(targets.Supervised, targets.injected)

fault(fn_injected, "last_missed_forgotten", CHANNEL_B, "The last ground truth is left out of the target.")(
    asked(samples=lambda request: [replace(s, gt=s.gt[:-1]) for s in request.samples])
)
fault(fn_injected, "appended_desc_masked", CHANNEL_B, "The desc of appended objects gets no loss.")(
    scaled(lambda one, p: of_fate(one, p, APPENDED) and DESC in roles(one, p), 0.0)
)
