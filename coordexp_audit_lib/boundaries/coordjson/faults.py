"""Known-bad writers and readers: one small break each, and the claims that must notice it."""

from __future__ import annotations

import re
from collections.abc import Callable

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.coordjson.contract import (
    GROWTH,
    JSON_SINKS,
    PARSE,
    PREDICTION_GROWTH,
    RENDER,
    TRANSPILE,
    Growth,
    GrowthRequest,
    Parsed,
    ParseRequest,
    RenderRequest,
    Text,
    Transpiled,
)
from coordexp_audit_lib.boundaries.coordjson.dataflow import Scan, ScanRequest, Sink
from coordexp_audit_lib.boundaries.coordjson.growth import growth
from coordexp_audit_lib.core.claim import fault
from coordexp_audit_lib.core.surface import Refuse

Parse = Callable[[ParseRequest], Parsed]
FAR = re.compile(r"<\|coord_[0-9]{4,}\|>")


@fault(
    "coordjson.raw_sink",
    surface=JSON_SINKS,
    caught_by=("coordjson.transpiled_before_json",),
    summary="an evaluator gives the model's text to json.loads",
)
def raw_sink(request: ScanRequest, honest: Callable[[ScanRequest], Scan]) -> Scan:
    found = honest(request)
    return Scan([*found.sinks, Sink("src/eval/fast.py", 7, "quick_parse", "json.loads", "raw")], found.modules)


@fault(
    "coordjson.unescaped_desc",
    surface=RENDER,
    caught_by=("coordjson.roundtrip",),
    summary="desc is put between quotes without being escaped",
)
def unescaped_desc(request: RenderRequest, honest: Callable[[RenderRequest], Text]) -> Text:
    return Text(honest(request).text.replace('\\"', '"'))


@fault(
    "coordjson.order_ignored",
    surface=RENDER,
    caught_by=("coordjson.roundtrip", "coordjson.agrees_with_reference"),
    summary="records are always written desc first",
)
def order_ignored(request: RenderRequest, honest: Callable[[RenderRequest], Text]) -> Text:
    return honest(replace(request, order="desc_first"))


@fault(
    "coordjson.tight_separators",
    surface=RENDER,
    caught_by=("coordjson.agrees_with_reference",),
    summary="coordinates are separated without a space, so the tokens differ from those of rollouts",
)
def tight_separators(request: RenderRequest, honest: Callable[[RenderRequest], Text]) -> Text:
    return Text(honest(request).text.replace("|>, <|", "|>,<|"))


@fault(
    "coordjson.strict_is_salvage",
    surface=PARSE,
    caught_by=("coordjson.strict_rejects",),
    summary="strict mode drops what is broken, as salvage does, instead of refusing it",
)
def strict_is_salvage(request: ParseRequest, honest: Parse) -> Parsed:
    return honest(replace(request, mode="salvage"))


@fault(
    "coordjson.strict_trims",
    surface=PARSE,
    caught_by=("coordjson.strict_rejects",),
    summary="strict mode cuts off a trailing special token before it reads",
)
def strict_trims(request: ParseRequest, honest: Parse) -> Parsed:
    return honest(replace(request, text=request.text.removesuffix("<|im_end|>")))


@fault(
    "coordjson.last_container",
    surface=PARSE,
    caught_by=("coordjson.salvage_first_container",),
    summary="salvage takes the last container of a text",
)
def last_container(request: ParseRequest, honest: Parse) -> Parsed:
    at = request.text.rfind('{"objects": [')
    if request.mode == "strict" or at <= 0:
        return honest(request)
    return honest(replace(request, text=" " * at + request.text[at:]))


@fault(
    "coordjson.brace_counter",
    surface=PARSE,
    caught_by=("coordjson.salvage_first_container",),
    summary="salvage counts brackets in strings, so that one in a desc ends the container",
)
def brace_counter(request: ParseRequest, honest: Parse) -> Parsed:
    end = request.text.find("]}")
    if request.mode == "strict" or end < 0:
        return honest(request)
    found = honest(request)
    inside = [r for r in found.records if r.span[0] < end < r.span[1] - 2]
    return replace(found, records=[r for r in found.records if r not in inside])


@fault(
    "coordjson.clamped",
    surface=PARSE,
    caught_by=("coordjson.salvage_never_repairs", "coordjson.agrees_with_reference"),
    summary="a coordinate behind 999 is clamped to 999 and its record kept",
)
def clamped(request: ParseRequest, honest: Parse) -> Parsed:
    return honest(replace(request, text=FAR.sub("<|coord_999|>", request.text)))


@fault(
    "coordjson.tail_completed",
    surface=PARSE,
    caught_by=("coordjson.salvage_never_repairs",),
    summary="a record that is cut off in its array is closed and kept",
)
def tail_completed(request: ParseRequest, honest: Parse) -> Parsed:
    if request.mode == "salvage" and request.text.endswith("|>"):
        return honest(replace(request, text=request.text + "]}"))
    return honest(request)


@fault(
    "coordjson.sorted_records",
    surface=PARSE,
    caught_by=("coordjson.salvage_never_repairs",),
    summary="kept records come back sorted by their coordinates, downwards",
)
def sorted_records(request: ParseRequest, honest: Parse) -> Parsed:
    found = honest(request)
    return replace(found, records=sorted(found.records, key=lambda r: r.values, reverse=True))


@fault(
    "coordjson.uncounted",
    surface=PARSE,
    caught_by=("coordjson.salvage_accounts", "coordjson.agrees_with_reference"),
    summary="records with a wrong key order vanish without being counted",
)
def uncounted(request: ParseRequest, honest: Parse) -> Parsed:
    found = honest(request)
    return replace(found, dropped={k: n for k, n in found.dropped.items() if k != "order_violation"})


@fault(
    "coordjson.tail_counted_twice",
    surface=PARSE,
    caught_by=("coordjson.salvage_accounts",),
    summary="a record that is cut off counts as dropped too",
)
def tail_counted_twice(request: ParseRequest, honest: Parse) -> Parsed:
    found = honest(request)
    more = {"other": found.dropped.get("other", 0) + 1} if found.incomplete_tail else {}
    return replace(found, dropped={**found.dropped, **more})


@fault(
    "coordjson.total_apart",
    surface=PARSE,
    caught_by=("coordjson.salvage_accounts",),
    summary="the total of dropped records is not the sum of its reasons",
)
def total_apart(request: ParseRequest, honest: Parse) -> Parsed:
    found = honest(request)
    return replace(found, dropped_total=2 * sum(found.dropped.values()))


@fault(
    "coordjson.shifted_spans",
    surface=PARSE,
    caught_by=("coordjson.spans_exact",),
    summary="spans are offsets into the container, not into the text",
)
def shifted_spans(request: ParseRequest, honest: Parse) -> Parsed:
    found = honest(request)
    by = found.container_start or 0
    moved = [
        replace(
            r, span=(r.span[0] - by, r.span[1] - by), geometry_span=(r.geometry_span[0] - by, r.geometry_span[1] - by)
        )
        for r in found.records
    ]
    return replace(found, records=moved)


@fault(
    "coordjson.wide_geometry",
    surface=PARSE,
    caught_by=("coordjson.spans_exact",),
    summary="the geometry span begins at the key, not at the array",
)
def wide_geometry(request: ParseRequest, honest: Parse) -> Parsed:
    found = honest(request)
    records = [
        replace(r, geometry_span=(r.geometry_span[0] - len(f'"{r.geometry}": '), r.geometry_span[1]))
        for r in found.records
    ]
    return replace(found, records=records)


def starts_over(text: str) -> int:
    """Work of a reader that scans the rest of the text again from every brace."""
    steps = 0
    for at, mark in enumerate(text):
        if mark == "{":
            for _ in text[at:]:
                steps += 1
    return steps


@fault(
    "coordjson.quadratic",
    surface=GROWTH,
    caught_by=("coordjson.linear_time",),
    summary="salvage scans the rest of the text again from every brace",
)
def quadratic(request: GrowthRequest, honest: Callable[[GrowthRequest], Growth]) -> Growth:
    return growth(starts_over, request.texts)


@fault(
    "coordjson.quadratic_prediction",
    surface=PREDICTION_GROWTH,
    caught_by=("coordjson.linear_time",),
    summary="inference scans the rest of the text again from every brace",
)
def quadratic_prediction(request: GrowthRequest, honest: Callable[[GrowthRequest], Growth]) -> Growth:
    return growth(starts_over, request.texts)


@fault(
    "coordjson.one_reason",
    surface=PARSE,
    caught_by=("coordjson.agrees_with_reference",),
    summary="every dropped record counts as wrong_arity",
)
def one_reason(request: ParseRequest, honest: Parse) -> Parsed:
    found = honest(request)
    return replace(found, dropped={"wrong_arity": sum(found.dropped.values())} if found.dropped else {})


@fault(
    "coordjson.silent_failure",
    surface=TRANSPILE,
    caught_by=("coordjson.agrees_with_reference",),
    summary="a text without a container becomes an empty prediction and no failure is reported",
)
def silent_failure(request: ParseRequest, honest: Callable[[ParseRequest], Transpiled]) -> Transpiled:
    return replace(honest(request), failed=False)


@fault(
    "coordjson.refuses_empty",
    surface=PARSE,
    caught_by=("coordjson.roundtrip", "coordjson.agrees_with_reference"),
    summary="strict mode refuses the container without records",
)
def refuses_empty(request: ParseRequest, honest: Parse) -> Parsed:
    if request.mode == "strict" and request.text == '{"objects": []}':
        raise Refuse("there are no objects")
    return honest(request)
