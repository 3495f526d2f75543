"""The claim about packed evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.packing.evaluation import EVAL, POLICY, EvalRequest
from coordexp_audit_lib.core.claim import Context, invariant
from coordexp_audit_lib.core.evidence import Evidence
from coordexp_audit_lib.core.finding import Violation

KEY = "training.eval_packing"
UNASKED: tuple[dict[str, Any], ...] = (
    {"packing": True},
    {"packing": True, "packing_mode": "static"},
    {"packing": True, "packing_buffer": 64},
    {"packing": True, "packing_drop_last": False},
    {"packing": True, "eval_packing": False},
    {"packing": False},
    {},
)


@invariant(
    "packing.eval_unpacked",
    boundary="packing",
    severity="P2",
    kind="B",
    per_config=True,
    claim="Evaluation is not packed unless asked.",
    remedy="Let training.eval_packing default to false; take it out of a config whose launcher refuses it.",
    spec="openspec/specs/packing-dataset/spec.md (Evaluation packing)",
)
def eval_unpacked(ctx: Context) -> Iterator[Violation]:
    """Training sections that do not ask for it; then the config: what it asks for, and whether it can launch."""
    for training in UNASKED:
        ctx.judged()
        plan = ctx.value(EVAL, EvalRequest(training))
        if plan.packing and plan.eval_packing:
            text = "evaluation is packed although the config does not ask for it"
            yield Violation(text, KEY, False, True, {"training": training})
    if ctx.config:
        yield from _of_config(ctx)


def _of_config(ctx: Context) -> Iterator[Violation]:
    ctx.judged()
    plan = ctx.value(EVAL, EvalRequest(config=ctx.config))
    says = "silent" if plan.asked is None else str(plan.asked).lower()
    ctx.note(Evidence(kind="key", path=ctx.config, key=KEY, value=f"{says}; read as {str(plan.eval_packing).lower()}"))
    packed = plan.packing and plan.eval_packing and not plan.rollout
    if packed and not plan.asked:
        text = f"{ctx.config} does not ask for packed evaluation and gets it"
        yield Violation(text, KEY, False, True, {"config": ctx.config})
    status = ctx.target.bindings()[POLICY.name].status
    if status not in ("bound", "moved"):
        ctx.fact("not in this tree", "a launcher's own check of packing")
        return
    answer = ctx.ask(POLICY, EvalRequest(config=ctx.config))
    if answer.refusal:
        asks = f"asks for packed evaluation ({KEY}: true)" if packed else "is packed"
        text = f"{ctx.config} {asks} and its own launcher refuses that before training: the entrypoint cannot launch"
        reason = f"{answer.refusal.type}: {answer.refusal.message}"
        yield Violation(text, KEY, "a config that its launcher lets through", reason, {"config": ctx.config})
