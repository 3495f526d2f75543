"""What is taught of an answer of which a part is given: tokens that straddle, tokens left out, tokens taught twice."""

from __future__ import annotations

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.supervision.predicates.roles import piece
from coordexp_audit_lib.boundaries.supervision.predicates.suffix import covered, given_bytes, spans
from coordexp_audit_lib.boundaries.supervision.reference.continuation import suffix
from coordexp_audit_lib.boundaries.supervision.surfaces import Thing
from coordexp_audit_lib.boundaries.supervision.surfaces.continuation import Suffix, SuffixRequest
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.kit.tokenizer import IM_END

boundaries.load(["supervision"])
THINGS = [Thing("cat", [1, 2, 30, 40]), Thing("Straße", [5, 6, 70, 80])]
SECOND = SuffixRequest(THINGS, [0], [1])
RIGHT = suffix(SECOND)


def found(answer: Suffix, request: SuffixRequest = SECOND) -> list[str]:
    return [p.message for p in covered(request, answer, Ledger())]


def test_the_first_token_that_is_taught_is_the_first_that_reaches_beyond_what_is_given() -> None:
    first = min(one.position for one in RIGHT.steps)
    before, after = spans(RIGHT.ids)[first]
    assert before <= given_bytes(SECOND) < after
    assert piece(RIGHT.ids[first]).startswith(b" {")  # the blank is given, the brace is not
    assert found(RIGHT) == []


def test_with_nothing_given_all_is_taught_and_with_everything_given_the_close() -> None:
    assert given_bytes(SuffixRequest(THINGS, [], [0, 1])) == 0
    closing = suffix(SuffixRequest(THINGS, [0, 1], []))
    taught = b"".join(piece(closing.ids[one.position]) for one in closing.steps)
    assert taught.endswith(b"]}<|im_end|>\n") and len(taught) <= len(b"]]}]}<|im_end|>\n")


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (RIGHT.steps[:-2], "follows what is given is not taught"),  # the end of the turn, and the newline after it
        ([*RIGHT.steps, RIGHT.steps[0]], "taught twice"),
        (suffix(SuffixRequest(THINGS, [], [0, 1])).steps, "of what is given is taught"),
    ],
)
def test_what_is_left_out_or_taught_too_much_is_told(steps: list[object], message: str) -> None:
    told = found(Suffix(RIGHT.ids, steps))  # type: ignore[arg-type]
    assert told and all(message in one for one in told)


def test_the_newline_after_the_end_of_the_turn_may_be_taught_or_not() -> None:
    at = RIGHT.ids.index(IM_END)
    assert found(Suffix(RIGHT.ids, [one for one in RIGHT.steps if one.position <= at])) == []


def test_another_text_is_no_answer_to_the_question() -> None:
    other = suffix(SuffixRequest(THINGS, [1], [0]))
    assert found(other) == ["the answer is not the one that the serializer writes"]
