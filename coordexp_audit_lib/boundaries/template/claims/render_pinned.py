"""The prompt token ids of a fixed sample equal the pinned ids.

The loss is conditioned on the prompt, token by token, and an evaluation under another prompt is one of another model. A
changed word, a dropped system turn or a special token that is split shows in no metric of its own: runs before and
after are compared as if they were of one kind.

Example: `class names` that became `categories` differs from the pin at one token, which the finding names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from coordexp_audit_lib.boundaries.template import cases, predicates
from coordexp_audit_lib.boundaries.template import surfaces as s
from coordexp_audit_lib.boundaries.template.faults import prompt_ids, prompts
from coordexp_audit_lib.boundaries.template.reference import PROFILE
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.kit import tokenizer
from coordexp_audit_lib.kit.prompt_trace import Trace, trace


@claim(
    severity="P0",
    kind="B",
    remedy="If the prompt was meant to change, pin it anew and say so in the run's notes: a checkpoint trained under "
    "the old prompt is not comparable. Otherwise undo the change of template, special tokens or system prompt.",
)
def render_pinned(ctx: Context) -> Iterator[Violation]:
    own = "reference_" if ctx.target.info().kind == "reference" else ""
    pinned = msgspec.convert(ctx.contract[f"template.{own}prompt_pins"], dict[str, Trace])
    for request in cases.prompt_requests(ctx.contract):
        name = cases.setting(request)
        if name not in pinned:
            ctx.left_out(name, "it is not pinned")
            continue
        made = ctx.value(s.PROMPT, request)
        for p in predicates.pinned_problems(predicates.Rendered(made.tokens, pinned[name], name), ctx):
            yield Violation(p.message, name, p.expected, p.actual, {"setting": name, "token": p.token})
        if not made.system:
            yield Violation("the prompt has no system turn", name, "a system turn", "none", {"setting": name})


render_pinned.on(predicates.Rendered, predicates.pinned_problems)


@fault(render_pinned, "system_prompt_changed", s.PROMPT, "one word of one variant's system prompt is another")
def system_prompt_changed(request: s.PromptRequest, honest: Honest) -> s.Prompt:
    system, user = prompts(request)
    return s.Prompt(trace(prompt_ids(system.replace("class names", "categories"), user)), True)


@fault(render_pinned, "special_token_split", s.PROMPT, "<|im_end|> is no added token and is split into its letters")
def special_token_split(request: s.PromptRequest, honest: Honest) -> Any:
    letters = tokenizer.encode("<|im")[:1] + tokenizer.encode("|>")
    split = [p for t in prompt_ids(*prompts(request)) for p in (letters if t == PROFILE.turn_end else [t])]
    return replace(honest(request), tokens=trace(split))


fault(render_pinned, "system_turn_dropped", s.PROMPT, "the system turn is not rendered")(
    lambda request, honest: s.Prompt(trace(prompt_ids("", prompts(request)[1])), False)
)
fault(render_pinned, "newline_after_role_dropped", s.PROMPT, "the template has no newline after the assistant's role")(
    lambda request, honest: replace(honest(request), tokens=trace(prompt_ids(*prompts(request))[:-1]))
)
