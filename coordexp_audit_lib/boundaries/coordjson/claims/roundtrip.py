"""Render then parse gives back every desc (but for blanks at its ends), geometry and order, for both field orders.

Targets are rendered and rollouts parsed by one contract. Where the two do not invert each other, the model is trained
towards text that its own reader refuses or reads as another object, and matching compares boxes that nobody predicted.

Example: the desc `a "b" ]}` with the box `[0, 5, 999, 42]` comes back with its quotes, bracket and bins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.coordjson.cases import texts
from coordexp_audit_lib.boundaries.coordjson.cases.rollouts import rollouts
from coordexp_audit_lib.boundaries.coordjson.predicates import parsing
from coordexp_audit_lib.boundaries.coordjson.predicates.tally import Tally
from coordexp_audit_lib.boundaries.coordjson.surfaces import PARSE, RENDER, ParseRequest, RenderRequest
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, answered, asked, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.core.surface import Refuse
from coordexp_audit_lib.kit.coordjson import ORDERS

RANDOM_CONTAINERS = 12
AGREES, SPANS = ("coordjson.agrees_with_reference",), ("coordjson.spans_exact",)


@claim(
    severity="P0",
    kind="B",
    remedy="Escape desc as a JSON string when rendering, and read strings before looking for structure.",
)
def roundtrip(ctx: Context) -> Iterator[Problem]:
    rng = ctx.rng("records")
    listed = texts.listed_things() + [texts.things(rng, n) for n in range(RANDOM_CONTAINERS)]
    tally = Tally()
    for order in ORDERS:
        for things in [*listed, *rollouts()]:
            ctx.judged()
            text = ctx.value(RENDER, RenderRequest(things, order)).text
            answer = ctx.ask(PARSE, ParseRequest(text, "strict", order))
            if answer.refusal:
                tally.add("refused", f"its own rendering is refused: {answer.refusal.message[:200]}", text, order)
                continue
            for problem in parsing.roundtrip(things, order, answer.value):
                kind = problem.message.partition(": ")[2] or "records lost"
                tally.add(kind, problem.message, text, order)
    yield from tally.problems(ctx.where(PARSE))


fault(roundtrip, "unescaped_desc", RENDER, "desc is put between quotes without being escaped")(
    answered(text=lambda rendered: rendered.text.replace('\\"', '"'))
)
fault(roundtrip, "order_ignored", RENDER, "records are always written desc first", also=AGREES)(
    asked(order=lambda _: "desc_first")
)
fault(roundtrip, "key_order_reversed", PARSE, "of each record the keys are told the other way round", also=SPANS)(
    answered(records=lambda parsed: [replace(r, key_order=r.key_order[::-1]) for r in parsed.records])
)
fault(roundtrip, "last_record_lost", PARSE, "the last record is kept back, and counted nowhere", also=AGREES)(
    answered(records=lambda parsed: parsed.records[:-1])
)
fault(roundtrip, "counted_from_one", PARSE, "records are counted from 1", also=AGREES)(
    answered(records=lambda parsed: [replace(r, index=r.index + 1) for r in parsed.records])
)


@fault(roundtrip, "refuses_empty", PARSE, "strict mode refuses the container without records", also=AGREES)
def _refuses_empty(request: ParseRequest, honest: Honest) -> Any:
    if request.mode == "strict" and request.text == '{"objects": []}':
        raise Refuse("there are no objects")
    return honest(request)
