"""A parameter that is to train gets a gradient, and the optimizer has it.

What is marked to train and never moves is a part of the model that the run says it trained: an adapter that nothing
calls, a head that was made anew after the optimizer was, a tower whose output is cut off by a `detach`. The loss goes
down all the same. A program may mean it, so that this is told and stops nothing.

Example: `Linear` layers of an adapter with `requires_grad=True` whose `grad` is None in each of the first 8 steps."""

from __future__ import annotations

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases.training import of_run
from coordexp_audit_lib.boundaries.supervision.predicates import running
from coordexp_audit_lib.core.claim import artifact_claim
from coordexp_audit_lib.core.fault import spoil

parameters_train = artifact_claim(
    id="supervision.parameters_train",
    doc=__doc__,
    severity="P2",
    remedy="Freeze what is not to train; make the optimizer last, from all parameters that require a gradient.",
    on={running.Trained: running.parameters_train},
    asks=of_run(lambda run: run.trained),
)


def _sound() -> running.Trained:
    return running.Trained(8, 40)


spoil(parameters_train, "no_gradient", "an adapter is called by nothing", _sound)(
    lambda seen: replace(seen, still=["adapter.weight"])
)
spoil(parameters_train, "in_no_group", "the optimizer is made without the head", _sound)(
    lambda seen: replace(seen, outside=["lm_head.weight"])
)
