"""A coordinate outside 0..999, a non-integer, or an odd count is an error before augmentation.

There are 1000 coordinate tokens. A value that is none of them is clamped, rounded or shifted into its neighbour's place
further on, and the model is supervised with a box that nobody drew.

Example: `[1, 2, 3, 1000]` is refused when the record is loaded; clamped to 999 it would touch the image's edge."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from coordexp_audit_lib.boundaries.geometry import cases
from coordexp_audit_lib.boundaries.geometry import surfaces as s
from coordexp_audit_lib.boundaries.geometry.faults import objects
from coordexp_audit_lib.boundaries.geometry.predicates import frames, grounding, records
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import asked, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.kit.boxes import LAST_BIN, token, tokens


@claim(
    severity="P1",
    kind="B",
    remedy="Refuse such a record when it is loaded, whether its coordinates are tokens or numbers.",
)
def bins_in_range(ctx: Context) -> Iterator[Violation]:
    for name, key, values in cases.OUT_OF_BINS:
        record = {**cases.sound(index=0), "objects": [{"desc": "object 0", key: values}]}
        for path, surface, request in (
            ("without augmentation", s.RENDER, cases.render(ctx, copy.deepcopy(record))),
            ("into augmentation", s.AUGMENT, s.AugmentRequest(copy.deepcopy(record))),
        ):
            answer = cases.ask(ctx, path, surface, request)
            if answer is not None and not answer.refused:
                message, where = f"a {key} with {name} is accepted {path}", ctx.where(surface)
                yield Violation(message, f"objects[0].{key}", "refused", "accepted", {key: values}, where)
    ctx.fact("other spellings that are taken for a bin", _spellings(ctx))


bins_in_range.on(records.Record, records.bins_in_range)
bins_in_range.on(grounding.Talk, frames.in_frame)


def _spellings(ctx: Context) -> list[str]:
    """Which spellings of a bin the dataset takes besides token and int. Not judged: the claim is silent on them."""
    taken = []
    for value in cases.SPELLINGS if ctx.answers(s.RENDER) else ():
        item = {"desc": "object 0", "bbox_2d": [value, *tokens([20, 30, 40])]}
        if not ctx.ask(s.RENDER, cases.render(ctx, {**cases.sound(index=0), "objects": [item]})).refused:
            taken.append(json.dumps(value))
    return taken


def clamped(values: list[Any]) -> list[Any]:
    return [token(LAST_BIN) if v == "<|coord_1000|>" or (isinstance(v, int) and v > LAST_BIN) else v for v in values]


fault(bins_in_range, "bins_clamped", s.RENDER, "a coordinate above 999 is clamped instead of refused")(
    asked(record=lambda request: objects(request.record, clamped))
)
