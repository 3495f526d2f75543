"""The reference answers: the grammar's own writer and reader, in linear time and with exact spans."""

from __future__ import annotations

import json
from collections import Counter
from functools import partial
from pathlib import Path

from coordexp_audit_lib.boundaries.coordjson import surfaces as s
from coordexp_audit_lib.core.surface import Refuse, answers
from coordexp_audit_lib.kit import coordjson
from coordexp_audit_lib.kit.tracing import growth
from coordexp_audit_lib.source.sinks import Scan, ScanRequest
from coordexp_audit_lib.source.tree import Tree


@answers(s.PARSE)
def parse_coordjson(request: s.ParseRequest) -> s.Parsed:
    try:
        found = getattr(coordjson, request.mode)(request.text, request.order)
    except coordjson.Broken as error:
        raise Refuse(str(error)) from error
    if found is None:
        return s.Parsed([], {}, 0, None, None, truncated=False, failed=True, dropped_total=0)
    records = [
        s.Record(i, e.desc, e.geometry, list(e.values), list(e.keys), e.span, e.geometry_span)
        for i, e in enumerate(found.entries)
        if e.valid
    ]
    reasons = [coordjson.admissible(e.defects) for e in found.entries if not e.valid]
    counts = dict(Counter(r[0] if len(r) < len(coordjson.REASONS) else "other" for r in reasons))
    cut = found.end is None
    return s.Parsed(records, counts, int(found.tail), found.start, found.end, cut, False, len(reasons))


@answers(s.RENDER)
def render(request: s.RenderRequest) -> s.Text:
    records = (coordjson.record(t.desc, t.geometry, t.values, request.order) for t in request.things)
    return s.Text(coordjson.container(*records))


@answers(s.TRANSPILE)
def coordjson_to_strict_json(request: s.ParseRequest) -> s.Transpiled:
    parsed = parse_coordjson(request)
    objects = [{k: r.desc if k == "desc" else r.values for k in r.key_order} for r in parsed.records]
    return s.Transpiled(json.dumps({"objects": objects}, ensure_ascii=False), parsed.failed)


@answers(s.GROWTH)
def salvage_growth(request: s.GrowthRequest) -> s.Growth:
    return s.Growth(**growth(lambda text: coordjson.salvage(text, request.order), request.texts))


@answers(s.PREDICTION_GROWTH)
def prediction_growth(request: s.GrowthRequest) -> s.Growth:
    def load(text: str) -> object:
        return json.loads(coordjson_to_strict_json(s.ParseRequest(text, "salvage", request.order)).text)

    return s.Growth(**growth(load, request.texts))


@answers(s.ROLLOUT_GROWTH)
def rollout_growth(request: s.GrowthRequest) -> s.Growth:
    read = partial(s.ParseRequest, mode="salvage", order=request.order)
    return s.Growth(**growth(lambda text: parse_coordjson(read(text)), request.texts))


@answers(s.JSON_SINKS)
def json_sinks(request: ScanRequest) -> Scan:
    """The same scan over this boundary's own modules."""
    return s.scan(Tree(Path(__file__).resolve().parent), ScanRequest(roots=("",), leave_out=()))
