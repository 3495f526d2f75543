"""A frozen parameter does not change.

What is said to be frozen is compared between runs as if it were the same: a vision tower, a base model below adapters,
a reference. It changes all the same where it was frozen after it had got a gradient, or where the optimizer's weight
decay goes over it, or where something copies weights. Some programs mean it (a teacher that is a running mean), so that
this is told and stops nothing.

Example: `visual.patch_embed.weight` with `requires_grad=False` has other entries after 8 steps than before."""

from __future__ import annotations

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases.training import of_run
from coordexp_audit_lib.boundaries.supervision.predicates import running
from coordexp_audit_lib.core.claim import artifact_claim
from coordexp_audit_lib.core.fault import spoil

frozen_still = artifact_claim(
    id="supervision.frozen_still",
    doc=__doc__,
    severity="P2",
    remedy="Freeze before the optimizer is made, give it only what trains, and clear `grad` of what is frozen later.",
    on={running.Frozen: running.frozen_still},
    asks=of_run(lambda run: run.frozen),
)

spoil(frozen_still, "frozen_changed", "a frozen tower is updated", lambda: running.Frozen(12))(
    lambda seen: replace(seen, changed=["visual.patch_embed.weight"])
)
