"""Deliberate breaks of how packed evaluation is read and allowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from coordexp_audit_lib.boundaries.packing.evaluation import EVAL, POLICY, Allowed, EvalPlan, EvalRequest
from coordexp_audit_lib.core.claim import fault
from coordexp_audit_lib.core.surface import Refuse

Honest = Callable[[Any], Any]
CAUGHT = ("packing.eval_unpacked",)


@fault("packing.eval_by_default", surface=EVAL, caught_by=CAUGHT, summary="packed evaluation is the default")
def eval_by_default(request: EvalRequest, honest: Honest) -> EvalPlan:
    made: EvalPlan = honest(request)
    return msgspec.structs.replace(made, eval_packing=made.packing and made.asked is not False)


@fault("packing.eval_follows_training", surface=EVAL, caught_by=CAUGHT, summary="evaluation is packed as training is")
def eval_follows_training(request: EvalRequest, honest: Honest) -> EvalPlan:
    made: EvalPlan = honest(request)
    return msgspec.structs.replace(made, eval_packing=made.packing)


@fault("packing.config_refused", surface=POLICY, caught_by=CAUGHT, summary="the launcher refuses its own config")
def config_refused(request: EvalRequest, honest: Honest) -> Allowed:
    raise Refuse("training.eval_packing is not supported: set it to false")
