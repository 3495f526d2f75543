"""Of an answer whose first objects are given, every token that follows is taught, once, and none of what is given.

The objective says that the model goes on from what it was given. A token that falls between two spans, because it
closes one record and parts it from the next, is not learned, and at that place the model stops or repeats; a token of
the given part that is taught makes an order of objects the right one.

Example: given a cat, asked for a dog. The step at `},` belongs to what is given; the first that is taught predicts the
opening of the dog's record, the last one the end of the turn."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.predicates import suffix
from coordexp_audit_lib.boundaries.supervision.predicates.roles import piece
from coordexp_audit_lib.boundaries.supervision.surfaces import Thing
from coordexp_audit_lib.boundaries.supervision.surfaces.continuation import SUFFIX, Suffix, SuffixRequest
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.kit.coordjson import Order
from coordexp_audit_lib.kit.tokenizer import IM_END

THINGS = [
    Thing("cat", [10, 20, 300, 400]),
    Thing("cat", [10, 25, 310, 420]),
    Thing("traffic light", [500, 5, 540, 90]),
    Thing('no. 1, "red"', [0, 0, 999, 999]),
    Thing("cat", [10, 20, 300, 400]),
]
DIVISIONS: tuple[tuple[list[int], list[int]], ...] = (
    ([], [0]),
    ([], [2, 0, 1]),
    ([0], [1, 2]),
    ([2, 3], [0]),
    ([3], [2, 4, 0]),
    ([1, 0, 2], []),
    ([0], [4]),
)
ORDERS: tuple[Order, ...] = ("desc_first", "geometry_first")


@claim(
    severity="P0", kind="B", remedy="Decide by each token's last byte whether it follows, and add one step for each."
)
def suffix_taught(ctx: Context) -> Iterator[Violation]:
    for order in ORDERS:
        for given, asked in DIVISIONS:
            there = sorted({*given, *asked})
            number = {k: n for n, k in enumerate(there)}
            chosen = [THINGS[k] for k in there]
            request = SuffixRequest(chosen, [number[k] for k in given], [number[k] for k in asked], order)
            case = {"given": [THINGS[k].desc for k in given], "asked": [THINGS[k].desc for k in asked], "order": order}
            for p in suffix.covered(request, ctx.value(SUFFIX, request), ctx):
                yield p.violation(f"{len(given)} given, {len(asked)} asked, {order}", case)


@fault(suffix_taught, "end_not_taught", SUFFIX, "the end of the turn is not taught")
def end_not_taught(request: SuffixRequest, honest: Honest) -> Suffix:
    made: Suffix = honest(request)
    at = made.ids.index(IM_END)
    return replace(made, steps=[one for one in made.steps if one.position != at])


@fault(suffix_taught, "given_taught", SUFFIX, "what is given is taught as well")
def given_taught(request: SuffixRequest, honest: Honest) -> Suffix:
    made: Suffix = honest(replace(request, given=[], asked=[*request.given, *request.asked]))
    return made


@fault(
    suffix_taught, "parting_skipped", SUFFIX, "a token that closes a record and parts it from the next is not taught"
)
def parting_skipped(request: SuffixRequest, honest: Honest) -> Suffix:
    made: Suffix = honest(request)
    return replace(made, steps=[one for one in made.steps if b"}," not in piece(one.step.teacher)])
