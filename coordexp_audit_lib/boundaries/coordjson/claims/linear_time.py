"""Time grows linearly on adversarial text (many {, deep nesting, unterminated strings), measured as a ratio.

A model that runs into a loop fills its length limit with braces. A reader that starts over at every one holds up the
step on every rank, for the worst rollout of the batch, and an evaluation that times out is reported without it.

Example: read `"{" * n` at n, 2n and 4n; the executed lines may double and double again, not quadruple."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.coordjson import surfaces as s
from coordexp_audit_lib.boundaries.coordjson.cases.rollouts import families
from coordexp_audit_lib.boundaries.coordjson.predicates.parsing import is_superlinear
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.surface import Surface
from coordexp_audit_lib.kit.tracing import growth


@claim(
    severity="P2",
    kind="B",
    remedy="Remember where each object ends, and never scan the rest of the text again from a later brace or record.",
)
def linear_time(ctx: Context) -> Iterator[Problem]:
    for question in s.READERS.values():
        if question is s.GROWTH or ctx.answers(question):
            yield from _superlinear(ctx, question)
        else:
            ctx.left_out(question.name, "not in this tree")


def _superlinear(ctx: Context, question: Surface[s.GrowthRequest, s.Growth]) -> Iterator[Problem]:
    """One problem for a function, with every family on which it is superlinear and the smallest text of them."""
    bad, texts = dict[str, float](), families("desc_first")
    for name, family in texts.items():
        ctx.judged()
        seen = ctx.value(question, s.GrowthRequest(family, "desc_first"))
        if is_superlinear(seen):
            bad[name] = seen.lines
    if bad:
        smallest = min((texts[name][0] for name in bad), key=lambda t: (len(t), t))
        named = ", ".join(f"{name} (n^{exponent})" for name, exponent in bad.items())
        yield Problem(
            f"{question.summary.removesuffix('.')} is superlinear on: {named}",
            subject=question.name,
            expected="n^1",
            actual=bad,
            counterexample=smallest[:200],
            where=ctx.where(question),
        )


def starts_over(text: str) -> int:
    """Work of a reader that scans the rest of the text again from every brace."""
    steps = 0
    for at, mark in enumerate(text):
        if mark == "{":
            for _ in text[at:]:
                steps += 1
    return steps


for _name, _reader in (("quadratic", "salvage"), ("quadratic_prediction", "inference")):
    fault(linear_time, _name, s.READERS[_reader], f"{_reader} scans the rest of the text again from every brace")(
        lambda request, honest: s.Growth(**growth(starts_over, request.texts))
    )
