"""Salvage takes the first valid container, ignoring junk around it, and is string-aware.

A rollout is what a model said: a sentence before, a second try behind, a bracket in a description. A reader that takes
another container or ends in a string makes matched objects of what was not said, and false negatives of what was.

Example: of `Answer: {"objects": [A]} and {"objects": [B]}` it keeps A; a desc `]}` ends nothing."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.coordjson.cases.texts import junk_texts, lost_texts
from coordexp_audit_lib.boundaries.coordjson.predicates.tally import Tally
from coordexp_audit_lib.boundaries.coordjson.surfaces import PARSE, Parsed, ParseRequest
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, asked, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.kit.coordjson import OPENING, ORDERS


@claim(
    severity="P1",
    kind="B",
    remedy="Scan left to right for the first container and skip strings while looking for its braces.",
)
def salvage_first_container(ctx: Context) -> Iterator[Problem]:
    tally = Tally()
    for order in ORDERS:
        for case in [*junk_texts(order), *lost_texts(order)]:
            ctx.judged()
            parsed = ctx.value(PARSE, ParseRequest(case.text, "salvage", order))
            kept = [r.desc.strip() for r in parsed.records]
            wanted = [d.strip() for d in case.kept or ()]
            if kept != wanted:
                tally.add(case.kind, f"kept {kept}, expected {wanted}", case.text, order)
    yield from tally.problems(ctx.where(PARSE))


def _last_container(request: ParseRequest) -> str:
    at = 0 if request.mode == "strict" else max(0, request.text.rfind(OPENING))
    return " " * at + request.text[at:]


fault(salvage_first_container, "last_container", PARSE, "salvage takes the last container of a text")(
    asked(text=_last_container)
)


_COUNTS = "salvage counts brackets in strings, so that one in a desc ends the container"


@fault(salvage_first_container, "brace_counter", PARSE, _COUNTS)
def _brace_counter(request: ParseRequest, honest: Honest) -> Parsed:
    parsed: Parsed = honest(request)
    end = -1 if request.mode == "strict" else request.text.find("]}")
    return replace(parsed, records=[r for r in parsed.records if not r.span[0] < end < r.span[1] - 2])
