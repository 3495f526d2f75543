"""Evaluation is not packed unless asked, or unless the contract has it packed by default.

Metrics of a packed evaluation are weighted by packs: long samples stand by themselves, short ones share a denominator,
and drop_last leaves samples out. Such a number can't be compared with one that was measured sample by sample.

Example: `training: {packing: true}` packs training; `eval_packing` is read as false."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.packing import surfaces as s
from coordexp_audit_lib.boundaries.packing.artifact import PackedRow
from coordexp_audit_lib.boundaries.packing.faults import replaced
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.evidence import Evidence
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.surface import Refuse

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


@claim(
    severity="P0",
    kind="B",
    per_config=True,
    remedy="Let training.eval_packing default to false; take it out of a config whose launcher refuses it.",
)
def eval_unpacked(ctx: Context) -> Iterator[Violation]:
    """Training sections that do not ask for it; then the config: what it asks for, and whether it can launch."""
    for training in UNASKED:
        ctx.judged()
        plan = ctx.value(s.EVAL, s.EvalRequest(training))
        if KEY.partition(".")[2] in training and plan.asked is None:
            ctx.left_out("what a config asks for", "the answer does not say")
        if plan.packing and plan.eval_packing and (plan.asked is False or not by_default(ctx)):
            text = "evaluation is packed although the config does not ask for it"
            yield Violation(text, KEY, False, True, {"training": training})
    if ctx.config:
        yield from _of_config(ctx)


def by_default(ctx: Context) -> bool:
    """Whether the contract has evaluation packed where a config is silent."""
    return bool(ctx.contract.get("packing.eval_by_default", False))


def _of_config(ctx: Context) -> Iterator[Violation]:
    ctx.target.config_path(ctx.config)  # a config that the tree lacks leaves it undecided
    ctx.judged()
    plan = ctx.value(s.EVAL, s.EvalRequest(config=ctx.config))
    says = "silent" if plan.asked is None else str(plan.asked).lower()
    ctx.note(Evidence(kind="key", path=ctx.config, key=KEY, value=f"{says}; read as {str(plan.eval_packing).lower()}"))
    packed = plan.packing and plan.eval_packing and not plan.rollout
    if packed and not plan.asked and (plan.asked is False or not by_default(ctx)):
        text = f"{ctx.config} does not ask for packed evaluation and gets it"
        yield Violation(text, KEY, False, True, {"config": ctx.config})
    if not ctx.answers(s.POLICY):
        ctx.not_there("a launcher's own check of packing", "not in this tree")
        return
    answer = ctx.ask(s.POLICY, s.EvalRequest(config=ctx.config))
    if answer.refusal:
        asks = f"asks for packed evaluation ({KEY}: true)" if packed else "is packed"
        text = f"{ctx.config} {asks} and its own launcher refuses that before training: the entrypoint cannot launch"
        reason = f"{answer.refusal.type}: {answer.refusal.message}"
        yield Violation(text, KEY, "a config that its launcher lets through", reason, {"config": ctx.config})


eval_unpacked.not_on(PackedRow, "needs the config")

fault(eval_unpacked, "eval_by_default", s.EVAL, "packed evaluation is the default")(
    replaced(lambda request, made: {"eval_packing": made.packing and made.asked is not False})
)
fault(eval_unpacked, "eval_follows_training", s.EVAL, "evaluation is packed as training is")(
    replaced(lambda request, made: {"eval_packing": made.packing})
)


@fault(eval_unpacked, "config_refused", s.POLICY, "the launcher refuses its own config")
def config_refused(request: s.EvalRequest, honest: Honest) -> s.Allowed:
    raise Refuse("training.eval_packing is not supported: set it to false")
