"""No assistant text reaches a strict JSON parser without being transpiled first.

CoordJSON is not JSON: its coordinates are bare tokens. A strict parser refuses it, and code that then falls back to
"no prediction" counts a right answer as an empty one: in evaluation as a missed object, in training as a false
negative.

Example: `json.loads(tokenizer.decode(ids))` is a violation, `json.loads(coordjson_to_strict_json(text))` is none."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.coordjson.surfaces import JSON_SINKS
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.fault import answered, fault
from coordexp_audit_lib.core.problem import Problem
from coordexp_audit_lib.source.sinks import ScanRequest, Sink


@claim(
    severity="P1",
    kind="S",
    remedy="Pass the text through coordjson_to_strict_json before json.loads, and drop the direct path.",
)
def transpiled_before_json(ctx: Context) -> Iterator[Problem]:
    verdicts: dict[str, int] = {}
    for sink in ctx.value(JSON_SINKS, ScanRequest(**ctx.contract["coordjson.scanned"])).sinks:
        ctx.judged()
        verdicts[sink.verdict] = verdicts.get(sink.verdict, 0) + 1
        if sink.verdict == "raw":
            yield Problem(
                f"{sink.parser} in {sink.symbol} is given assistant text that was not transpiled",
                subject=f"{sink.path}:{sink.line}",
                expected="transpiled text",
                actual="assistant text",
                where=Where(sink.path, sink.line, sink.symbol),
            )
    for verdict, count in sorted(verdicts.items()):
        ctx.fact(f"strict parser calls judged {verdict}", count)


RAW = Sink("src/eval/fast.py", 7, "quick_parse", "json.loads", "raw")

fault(transpiled_before_json, "raw_sink", JSON_SINKS, "an evaluator gives the model's text to json.loads")(
    answered(sinks=lambda scan: [*scan.sinks, RAW])
)
