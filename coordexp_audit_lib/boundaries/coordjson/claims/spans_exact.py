"""Record and geometry spans cut exactly their text from the source.

The trainer turns spans into token positions: where a matched object's structure is supervised, where its coordinates
take a geometry loss. A span that is off by one supervises the neighbour's tokens, silently.

Example: in `Sure: {"objects": [{"desc": "a", ...}]}` the record begins at 19, counted from the `S`."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.coordjson.cases.texts import salvage_cases
from coordexp_audit_lib.boundaries.coordjson.faults import answered
from coordexp_audit_lib.boundaries.coordjson.predicates import parsing
from coordexp_audit_lib.boundaries.coordjson.predicates.tally import Tally
from coordexp_audit_lib.boundaries.coordjson.surfaces import PARSE, Parsed, ParseRequest, Record
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import fault
from coordexp_audit_lib.core.problem import Problem


@claim(
    severity="P0",
    kind="B",
    remedy="Report offsets into the text that was given, before any trimming or decoding of it.",
)
def spans_exact(ctx: Context) -> Iterator[Problem]:
    tally = Tally()
    for case in salvage_cases():
        parsed = ctx.value(PARSE, ParseRequest(case.text, "salvage", case.order))
        ctx.judged(len(parsed.records))
        tally.add_all(case.kind, parsing.exact_spans(case.text, parsed), case.text, case.order)
    yield from tally.problems(ctx.where(PARSE))


def _from_the_container(parsed: Parsed) -> list[Record]:
    def moved(span: tuple[int, int]) -> tuple[int, int]:
        return span[0] - (parsed.container_start or 0), span[1] - (parsed.container_start or 0)

    return [replace(r, span=moved(r.span), geometry_span=moved(r.geometry_span)) for r in parsed.records]


def _from_the_key(parsed: Parsed) -> list[Record]:
    def wide(r: Record) -> tuple[int, int]:
        return r.geometry_span[0] - len(f'"{r.geometry}": '), r.geometry_span[1]

    return [replace(r, geometry_span=wide(r)) for r in parsed.records]


fault(spans_exact, "shifted_spans", PARSE, "spans are offsets into the container, not into the text")(
    answered(records=_from_the_container)
)
fault(spans_exact, "wide_geometry", PARSE, "the geometry span begins at the key, not at the array")(
    answered(records=_from_the_key)
)
