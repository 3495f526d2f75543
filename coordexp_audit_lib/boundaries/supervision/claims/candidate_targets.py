"""Where several continuations are right, each token of the target is taught as a distribution over what they go on
with, even over candidates.

An object may be named in any order, so after a prefix every object that remains is right. If shares do not add up to
one, the objective pulls all logits up or down; if they are not even over candidates, it teaches an order that nobody
chose; a candidate that counts although it parted earlier teaches a text that is none.

Example: of three boxes two begin with the coordinate 7 and one with 9; there 7 is taught with 2/3 and 9 with 1/3, and
what is right after 7 knows nothing of the third."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from coordexp_audit_lib.boundaries.supervision.predicates import candidates
from coordexp_audit_lib.boundaries.supervision.surfaces.continuation import (
    CANDIDATE_TARGETS,
    CandidatesRequest,
    CandidateTargets,
    TargetStep,
)
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation

EDGES = (
    ("one candidate", [[3, 4, 5]]),
    ("they part at once", [[1, 9], [2, 9], [3, 9]]),
    ("they part late", [[1, 2, 3, 4], [1, 2, 3, 5], [1, 2, 6, 4]]),
    ("the same one twice", [[1, 2, 3], [1, 2, 3], [1, 4, 3]]),
    ("they meet again", [[1, 2, 9, 9], [1, 3, 9, 8], [1, 2, 9, 7]]),
    ("of different lengths", [[1, 2, 9], [1, 3, 3, 3, 9], [4, 9]]),
)


@claim(severity="P0", kind="B", remedy="Divide by the number of candidates that share the tokens written so far.")
def candidate_targets(ctx: Context) -> Iterator[Violation]:
    for name, given in (*EDGES, *_drawn(ctx)):
        for teacher in range(len(given)):
            request = CandidatesRequest(given, teacher)
            steps = ctx.value(CANDIDATE_TARGETS, request).steps
            for p in candidates.targets(given, teacher, steps, ctx):
                yield p.violation(name, {"candidates": given, "teacher": teacher})


def _drawn(ctx: Context) -> Iterator[tuple[str, list[list[int]]]]:
    """Records of several fields as boxes have them: few tokens, so that many share their beginning; one end."""
    for n in range(6):
        rng = ctx.rng("candidates", n)
        yield f"{n + 3} drawn", [[1, *(rng.choice((5, 6, 7)) for _ in range(4)), 2] for _ in range(n + 3)]


def _steps(change: Callable[[CandidatesRequest, int, TargetStep], TargetStep]) -> Any:
    """Every step changed."""

    def apply(request: CandidatesRequest, honest: Honest) -> CandidateTargets:
        return CandidateTargets([change(request, n, step) for n, step in enumerate(honest(request).steps)])

    return apply


EVEN = "the shares are even over tokens, however many candidates go on with each"
fault(candidate_targets, "even_over_tokens", CANDIDATE_TARGETS, EVEN)(
    _steps(lambda r, n, s: TargetStep(s.teacher, [(t, 1 / len(s.targets)) for t, _ in s.targets]))
)
ALL = "the shares are of all candidates, those that parted earlier too"
fault(candidate_targets, "shares_of_all", CANDIDATE_TARGETS, ALL)(
    _steps(
        lambda r, n, s: TargetStep(
            s.teacher,
            [
                (t, p * sum(c[:n] == r.candidates[r.teacher][:n] for c in r.candidates) / len(r.candidates))
                for t, p in s.targets
            ],
        )
    )
)
fault(candidate_targets, "teacher_alone", CANDIDATE_TARGETS, "only the token that is written is a target")(
    _steps(lambda r, n, s: TargetStep(s.teacher, [(s.teacher, 1.0)]))
)
