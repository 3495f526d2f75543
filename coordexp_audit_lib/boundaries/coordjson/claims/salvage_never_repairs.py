"""A kept record is byte for byte in the input; nothing is invented, clamped or reordered.

Kept records are what matching and the rollout prefix are made of. A record that was completed or clamped was not
sampled: the trainer then supervises positions of a prefix that the model never took, and its metric counts the repair
as skill.

Example: `<|coord_1000|>` is no `<|coord_999|>` and `<|coord_0100|>` no `<|coord_100|>`; a record with a comma too many
is malformed; one that the length limit cut off is the tail, not an object."""

from __future__ import annotations

import re
from collections.abc import Iterator

from coordexp_audit_lib.boundaries.coordjson.cases.asking import salvaged
from coordexp_audit_lib.boundaries.coordjson.predicates import parsing
from coordexp_audit_lib.boundaries.coordjson.surfaces import PARSE, ParseRequest
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import answered, asked, fault
from coordexp_audit_lib.core.problem import Problem

COMMA = re.compile(r",(?=\s*[\]}])")
FAR = re.compile(r"<\|coord_[0-9]{4,}\|>")


@claim(
    severity="P0",
    root="coordjson.agrees_with_reference",
    kind="B",
    remedy="Drop what does not parse as it stands; never complete, clamp or sort it.",
)
def salvage_never_repairs(ctx: Context) -> Iterator[Problem]:
    yield from salvaged(ctx, lambda case, parsed: parsing.unrepaired(case.text, parsed))


def _completed(request: ParseRequest) -> str:
    return request.text + "]}" if request.mode == "salvage" and request.text.endswith("|>") else request.text


fault(
    salvage_never_repairs,
    "clamped",
    PARSE,
    "a coordinate behind 999 is clamped to 999 and its record kept",
    also=("coordjson.agrees_with_reference",),
)(asked(text=lambda request: FAR.sub("<|coord_999|>", request.text)))
fault(salvage_never_repairs, "tail_completed", PARSE, "a record that is cut off in its array is closed and kept")(
    asked(text=_completed)
)
_COMMAS = "commas before a closing bracket are overlooked, and the record kept"
fault(salvage_never_repairs, "comma_overlooked", PARSE, _COMMAS, also=("coordjson.agrees_with_reference",))(
    asked(text=lambda request: COMMA.sub(" ", request.text) if request.mode == "salvage" else request.text)
)
fault(salvage_never_repairs, "sorted_records", PARSE, "kept records come back sorted by their coordinates, downwards")(
    answered(records=lambda parsed: sorted(parsed.records, key=lambda r: r.values, reverse=True))
)
