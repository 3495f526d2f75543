"""Record and geometry spans cut exactly their text from the source.

The trainer turns spans into token positions: where a matched object's structure is supervised, where its coordinates
take a geometry loss. A span that is off by one supervises the neighbour's tokens, silently.

Example: in `Sure: {"objects": [{"desc": "a", ...}]}` the record begins at 19, counted from the `S`."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.coordjson.cases.asking import salvaged
from coordexp_audit_lib.boundaries.coordjson.predicates import parsing
from coordexp_audit_lib.boundaries.coordjson.surfaces import PARSE, Parsed, ParseRequest, Record
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, answered, fault
from coordexp_audit_lib.core.problem import Problem


@claim(
    severity="P0",
    kind="B",
    remedy="Report offsets into the text that was given, before any trimming or decoding of it.",
)
def spans_exact(ctx: Context) -> Iterator[Problem]:
    yield from salvaged(ctx, lambda case, parsed: parsing.exact_spans(case.text, parsed))


def _moved(r: Record, by: int, wider: int = 0) -> Record:
    (start, end), (first, last) = r.span, r.geometry_span
    return replace(r, span=(start - by, end - by), geometry_span=(first - by - wider, last - by))


fault(spans_exact, "shifted_spans", PARSE, "spans are offsets into the container, not into the text")(
    answered(records=lambda parsed: [_moved(r, parsed.container_start or 0) for r in parsed.records])
)
fault(spans_exact, "wide_geometry", PARSE, "the geometry span begins at the key, not at the array")(
    answered(records=lambda parsed: [_moved(r, 0, len(f'"{r.geometry}": ')) for r in parsed.records])
)
fault(spans_exact, "narrow_geometry", PARSE, "the geometry span ends before the array's last bracket")(
    answered(
        records=lambda parsed: [
            replace(r, geometry_span=(r.geometry_span[0], r.geometry_span[1] - 1)) for r in parsed.records
        ]
    )
)
fault(spans_exact, "container_starts_late", PARSE, "the container is said to start behind its first record")(
    answered(container_start=lambda parsed: parsed.records[0].span[1] if parsed.records else parsed.container_start)
)

_BYTES = "spans count bytes of UTF-8, not characters of the text"


@fault(spans_exact, "spans_in_bytes", PARSE, _BYTES)
def _in_bytes(request: ParseRequest, honest: Honest) -> Parsed:
    parsed: Parsed = honest(request)

    def counted(span: tuple[int, int]) -> tuple[int, int]:
        first, last = (len(request.text[:at].encode("utf-8", "surrogatepass")) for at in span)
        return first, last

    records = [replace(r, span=counted(r.span), geometry_span=counted(r.geometry_span)) for r in parsed.records]
    return replace(parsed, records=records)
