"""`prompt_token_ids` and the choice's `token_ids` are required, typed int; anything missing, empty or mistyped is an
error that names the field.

The loss of a Channel-B step stands on these ids: the prompt must be the one that the training row begins with, and the
answer is parsed and supervised token by token. An id that was coerced, or an answer that was read as empty, moves the
target without a trace: the step then trains on tokens that the model never said.

Example: `"token_ids": [1, true]` is refused by its path; read as `[1, 1]` it supervises a token that was not
generated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.rollout import cases, predicates
from coordexp_audit_lib.boundaries.rollout import surfaces as s
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.problem import Problem


@claim(
    severity="P1",
    kind="B",
    remedy="Check type, emptiness and every element before use; put the field's path into the error; coerce nothing.",
)
def response_schema(ctx: Context) -> Iterator[Problem]:
    every = list(cases.items())
    outcomes = ctx.value(s.PARSE, s.ParseRequest([c.item for c in every])).outcomes
    for case, outcome in zip(every, outcomes, strict=True):
        ctx.judged()
        yield from predicates.told(predicates.response_problems(case, outcome), "", case.label)


response_schema.on(predicates.Replied, predicates.replied)


@fault(response_schema, "coerced_ids", s.PARSE, "token ids are made ints of whatever they are")
def coerced_ids(request: s.ParseRequest, honest: Honest) -> s.Parsed:
    def coerced(item: Any, outcome: s.Outcome) -> s.Outcome:
        if "choices[0].token_ids[" not in outcome.message:
            return outcome
        try:
            return s.Outcome(token_ids=[int(t) for t in item["choices"][0]["token_ids"]], prompt_token_ids=[1])
        except (KeyError, TypeError, ValueError, IndexError):
            return outcome

    made: s.Parsed = honest(request)
    return s.Parsed([coerced(i, o) for i, o in zip(request.items, made.outcomes, strict=True)])


@fault(response_schema, "no_ids_accepted", s.PARSE, "an item without token ids is read as an empty answer")
def no_ids_accepted(request: s.ParseRequest, honest: Honest) -> s.Parsed:
    def read(item: Any, outcome: s.Outcome) -> s.Outcome:
        choices = item.get("choices") if isinstance(item, dict) else None
        bare = (
            isinstance(choices, list) and choices and isinstance(choices[0], dict) and not choices[0].get("token_ids")
        )
        return s.Outcome(prompt_token_ids=[11, 872, 198]) if bare else outcome

    return s.Parsed([read(i, o) for i, o in zip(request.items, honest(request).outcomes, strict=True)])
