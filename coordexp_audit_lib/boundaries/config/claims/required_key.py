"""A config without stage2_ab.schedule.b_ratio, without rollout_matching (stage-2 variant), without
training.effective_batch_size or without custom.object_field_order is refused.

Each of them decides what is optimised: the share of rollout steps, the rollouts' settings, the samples in one optimizer
step, the order of fields in every target text. A default would choose for the author.

Example: without `custom.object_field_order` the targets would be written desc first, though the rollouts that they are
compared with were prompted geometry first."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.config.cases import edits
from coordexp_audit_lib.boundaries.config.cases.bench import Bench
from coordexp_audit_lib.boundaries.config.faults import overlooked
from coordexp_audit_lib.boundaries.config.predicates.messages import said
from coordexp_audit_lib.boundaries.config.predicates.rules import Resolved, by_keys
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.nested import steps


@claim(
    severity="P1",
    kind="B",
    per_config=True,
    remedy="Refuse the missing key at load; a default for it would change what is trained without a word.",
)
def required_key(ctx: Context) -> Iterator[Problem]:
    bench = Bench(ctx).flat()
    for key in ctx.contract["config.required"]:
        if bench.get(key) is None:
            section = key.partition(".")[0]
            if section not in ctx.contract["config.stage2_sections"] or bench.get(section) is not None:
                ctx.left_out(key, "the config does not set it")
            continue
        answer = bench.load(edits.without(bench.chain, steps(key)), depth="arguments")
        ctx.judged()
        name = key.rpartition(".")[2]
        if answer.refusal is None or name not in answer.refusal.message:
            text = f"A config without {key} is {'refused for another reason' if answer.refusal else 'accepted'}."
            yield Problem(text, key, f"refused, naming {name}", said(answer), {"without": key})


required_key.on(Resolved, by_keys("config.required_key"))

overlooked(required_key, required_defaulted=(r"required", "missing keys get a default"))
