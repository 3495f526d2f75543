"""The ids used for generation are an exact prefix of the teacher-forced ids.

A rollout is the model's answer to one prompt; its loss is taken behind another if the two differ. Then the rollout is
off the policy that is trained, its tokens have other probabilities than they were drawn with, and an instruction that
only one side has (an order of fields, a list of classes) is learned or forgotten in silence.

Example: a server that is sent the default system prompt where training uses the COCO-80 one parts at token 348."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.template import cases, predicates
from coordexp_audit_lib.boundaries.template import surfaces as s
from coordexp_audit_lib.boundaries.template.artifact import BatchSamples
from coordexp_audit_lib.boundaries.template.faults import prompt_ids, prompts
from coordexp_audit_lib.boundaries.template.predicates import batches
from coordexp_audit_lib.boundaries.template.reference import FIXED, Template, answer_at
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.kit.prompt_trace import trace


@claim(
    severity="P0",
    kind="B",
    remedy="Send the server the very system prompt that the template renders for teacher forcing (the template's "
    "default system prompt), not a prompt that is chosen again on the way.",
)
def prompt_is_prefix(ctx: Context) -> Iterator[Violation]:
    for setting, request in cases.rollout_requests(ctx.contract):
        name = f"{setting}, {request.backend}"
        made = ctx.value(s.ROLLOUT, request)
        if not made.generated.length:
            ctx.left_out(name, "nothing is generated from")
            continue
        both = predicates.Continued(made.generated, made.teacher_forced, made.answer_at, name)
        for p in predicates.prefix_problems(both, ctx):
            yield Violation(p.message, name, p.expected, p.actual, {"setting": name, "token": p.token})


prompt_is_prefix.on(predicates.Continued, predicates.prefix_problems)
prompt_is_prefix.on(BatchSamples, batches.opened_once)


def _generated_from(ids: list[int], request: s.RolloutRequest) -> s.Rollout:
    """The answer of a pipeline that generates from these ids."""
    system, user = prompts(request)
    whole = Template(system).encode(FIXED, user, request.field_order)
    return s.Rollout(trace(ids), trace(whole.input_ids[: len(ids)]), answer_at(whole.labels))


_DEFAULT = "the server is sent the default system prompt whatever the settings are"


@fault(prompt_is_prefix, "server_prompt_default", s.ROLLOUT, _DEFAULT)
def server_prompt_default(request: s.RolloutRequest, honest: Honest) -> Any:
    default, _ = prompts(s.PromptRequest("sorted", "desc_first", "default"))
    ids = prompt_ids(default, prompts(request)[1])
    return _generated_from(ids, request) if request.backend == "vllm" else honest(request)


@fault(prompt_is_prefix, "answer_in_prompt", s.ROLLOUT, "the assistant's turn is not stripped before generation")
def answer_in_prompt(request: s.RolloutRequest, honest: Honest) -> s.Rollout:
    system, user = prompts(request)
    return _generated_from(Template(system).encode(FIXED, user, request.field_order).input_ids, request)


_OTHER_ORDER = "the server is sent the prompt of the other order of fields"


@fault(prompt_is_prefix, "server_prompt_other_order", s.ROLLOUT, _OTHER_ORDER)
def server_prompt_other_order(request: s.RolloutRequest, honest: Honest) -> s.Rollout:
    turned = "geometry_first" if request.field_order == "desc_first" else "desc_first"
    return _generated_from(prompt_ids(*prompts(replace(request, field_order=turned))), request)
