"""Of an answer whose first objects are given, every token that follows is taught, once, and none of what is given.

The objective says that the model goes on from what it was given. A token that falls between two spans, because it
closes one record and parts it from the next, is not learned, and at that place the model stops or repeats; a token of
the given part that is taught makes an order of objects the right one.

Example: given a cat, asked for a dog. The step at `},` belongs to what is given; the first that is taught predicts the
opening of the dog's record, the last one the end of the turn."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases.continuation import divided
from coordexp_audit_lib.boundaries.supervision.predicates import suffix
from coordexp_audit_lib.boundaries.supervision.predicates.roles import piece
from coordexp_audit_lib.boundaries.supervision.surfaces.continuation import SUFFIX, Suffix, SuffixRequest
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.kit.tokenizer import IM_END


@claim(
    severity="P0", kind="B", remedy="Decide by each token's last byte whether it follows, and add one step for each."
)
def suffix_taught(ctx: Context) -> Iterator[Violation]:
    for one in divided():
        request = SuffixRequest(one.things, one.given, one.asked, one.order)
        case = {"given": one.descs(one.given), "asked": one.descs(one.asked), "order": one.order}
        for p in suffix.covered(request, ctx.value(SUFFIX, request), ctx):
            yield p.violation(f"{len(one.given)} given, {len(one.asked)} asked, {one.order}", case)


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
