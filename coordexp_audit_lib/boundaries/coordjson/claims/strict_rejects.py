"""Strict mode refuses: text before or after; wrong key order; unknown, duplicate or missing keys; two geometries;
wrong arity; k > 999; a coordinate that is quoted, a number or spelled otherwise; empty desc; truncation; a second
container; a comma too many; a blank that JSON has not.

Strict mode reads training targets. What it lets through is supervised token by token: the model learns a form that the
next stage's reader drops, so that the loss falls and recall with it.

Example: a record with three bins, with `<|coord_1000|>`, or with its coordinates in quotes is refused, not
repaired."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.coordjson.cases.texts import broken_texts, demanded, lenient_texts
from coordexp_audit_lib.boundaries.coordjson.predicates.tally import Tally
from coordexp_audit_lib.boundaries.coordjson.surfaces import PARSE, ParseRequest
from coordexp_audit_lib.core.claim import Context, claim, provokes
from coordexp_audit_lib.core.fault import asked, fault
from coordexp_audit_lib.core.finding import Severity
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.surface import Answer
from coordexp_audit_lib.kit.coordjson import ORDERS


@claim(
    severity="P0",
    root="coordjson.agrees_with_reference",
    kind="B",
    remedy="Refuse the class of text in strict mode, naming objects[i].",
)
def strict_rejects(ctx: Context) -> Iterator[Problem]:
    tally = Tally()
    for order in ORDERS:
        for case in demanded([*broken_texts(order), *lenient_texts(order)], ctx.contract):
            ctx.judged()
            if not ctx.ask(PARSE, ParseRequest(case.text, "strict", order)).refused:
                tally.add(case.kind, f"strict mode accepts a text with: {case.kind}", case.text, order)
    # A strict reader checks what its own pipeline wrote, which holds no such thing: nothing is trained otherwise.
    lenient: dict[str, Severity] = {case.kind: "P2" for case in lenient_texts(ORDERS[0])}
    yield from tally.problems(ctx.where(PARSE), severities=lenient)


@provokes(PARSE)
def broken(ctx: Context) -> Iterator[tuple[str, Answer[Any]]]:
    for case in demanded(broken_texts(ORDERS[0]), ctx.contract):
        yield case.kind, ctx.ask(PARSE, ParseRequest(case.text, "strict", ORDERS[0]))


_SALVAGES = "strict mode drops what is broken, as salvage does, instead of refusing it"
fault(strict_rejects, "strict_is_salvage", PARSE, _SALVAGES)(asked(mode=lambda _: "salvage"))
fault(strict_rejects, "strict_trims", PARSE, "strict mode cuts off a trailing special token before it reads")(
    asked(text=lambda request: request.text.removesuffix("<|im_end|>"))
)


_BLANKS = "strict mode trims what Python calls a blank, a no-break space too"
fault(strict_rejects, "blanks_of_python", PARSE, _BLANKS)(
    asked(text=lambda request: request.text.strip() if request.mode == "strict" else request.text)
)
