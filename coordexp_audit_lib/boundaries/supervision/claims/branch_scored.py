"""What is scored as a candidate is its record: every token of it, no token of what is given or of what ends the turn;
and the end of the list, where it is scored, has a first token.

Candidates are compared, or taught against each other, by the likelihood of their tokens. Spans that are found by
encoding a part of the text by itself slip where tokens merge, or by the tokens that the template puts behind it: then
the box of one object is weighed with the opening of another, and the end of the list is never learned.

Example: `]}` of a box and `]}` of the list are one token; by the lengths of the two parts the list has no first
token."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases.continuation import divided
from coordexp_audit_lib.boundaries.supervision.predicates import branch
from coordexp_audit_lib.boundaries.supervision.surfaces.continuation import BRANCH, Branch, BranchRequest
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation


@claim(
    severity="P0", kind="B", remedy="Find the spans in the tokens of the whole answer, by the bytes that each covers."
)
def branch_scored(ctx: Context) -> Iterator[Violation]:
    for one in divided():
        for candidate in one.asked:
            request = BranchRequest(one.things, one.given, candidate, one.order)
            case = {"given": one.descs(one.given), "candidate": one.things[candidate].desc, "order": one.order}
            for p in branch.scored(request, ctx.value(BRANCH, request), ctx):
                yield p.violation(f"{len(one.given)} given, {one.order}", case)


@fault(branch_scored, "moved_by_turn_end", BRANCH, "spans are counted with the tokens that end the turn")
def moved_by_turn_end(request: BranchRequest, honest: Honest) -> Branch:
    made: Branch = honest(request)
    return replace(made, candidate=[at + 2 for at in made.candidate])


fault(branch_scored, "end_without_start", BRANCH, "the end of the list has no first token")(
    lambda request, honest: replace(honest(request), close_start=[])
)
fault(branch_scored, "boxes_as_text", BRANCH, "the coordinates of a candidate are scored as text")(
    lambda request, honest: replace(honest(request), coordinates=[])
)
