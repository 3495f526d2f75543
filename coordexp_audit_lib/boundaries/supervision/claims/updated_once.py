"""No parameter stands twice in the groups of the optimizer.

An optimizer walks its groups and updates what it finds there: a parameter that stands twice takes two steps, with two
learning rates or two times the weight decay. PyTorch refuses such groups when they are given, and sees nothing of what
is put into `param_groups` later.

Example: the head is appended to a second group with a learning rate of its own, and is left in the first."""

from __future__ import annotations

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases.training import of_run
from coordexp_audit_lib.boundaries.supervision.predicates import running
from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.claim import artifact_claim
from coordexp_audit_lib.core.fault import spoil

updated_once = artifact_claim(
    id="supervision.updated_once",
    doc=__doc__,
    severity="P1",
    remedy="Give groups to the optimizer with `add_param_group`, which refuses what is there already.",
    spec=(Citation("pytorch/pytorch", "torch/optim/optimizer.py", "Optimizer.add_param_group", "v2.8.0"),),
    on={running.Trained: running.updated_once},
    asks=of_run(lambda run: run.trained),
)

spoil(updated_once, "in_two_groups", "the head stands in two groups", lambda: running.Trained(8, 40))(
    lambda seen: replace(seen, twice=["lm_head.weight"])
)
