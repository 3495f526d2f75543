"""Objects in any order, and objectives of modules: what passes, what fails, on values written by hand."""

from __future__ import annotations

import math

import pytest

from coordexp_audit_lib.boundaries.supervision.predicates.candidates import losses, shares, step_loss, targets
from coordexp_audit_lib.boundaries.supervision.predicates.subsets import even, mixed, seeded, sound
from coordexp_audit_lib.boundaries.supervision.predicates.sums import additive
from coordexp_audit_lib.boundaries.supervision.surfaces.continuation import (
    Module,
    Objective,
    Subset,
    SubsetRequest,
    TargetStep,
)
from coordexp_audit_lib.core.claim import Ledger

BOXES = [[7, 1], [7, 2], [9, 1]]
EVEN = SubsetRequest(3, {"leave_one_out": 1.0}, 0, 0, 300)


def test_shares_are_of_the_candidates_that_are_still_possible() -> None:
    assert shares(BOXES, 0) == [{7: 2 / 3, 9: 1 / 3}, {1: 0.5, 2: 0.5}]
    assert shares(BOXES, 2) == [{7: 2 / 3, 9: 1 / 3}, {1: 1.0}]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ([(1, 0.5), (2, 0.5)], None),
        ([(1, 0.5), (2, 0.6)], "no distribution"),
        ([(1, 1.0)], "not the candidates' next tokens"),
        ([(1, 0.75), (2, 0.25)], "not even over candidates"),
        ([(1, 0.5), (1, 0.5)], "a target twice"),
        ([], "no distribution"),
    ],
)
def test_each_step_is_a_distribution_over_the_next_tokens(second: list[tuple[int, float]], message: str | None) -> None:
    steps = [TargetStep(7, [(7, 2 / 3), (9, 1 / 3)]), TargetStep(1, second)]
    found = [p.message for p in targets(BOXES, 0, steps, Ledger())]
    assert (message is None and found == []) or (message and message in found[0])


def test_a_step_too_few_is_no_target_for_the_last_token() -> None:
    (problem,) = targets(BOXES, 0, [TargetStep(7, [(7, 2 / 3), (9, 1 / 3)])], Ledger())
    assert "not the tokens that are written" in problem.message


def test_equal_weights_make_plain_cross_entropy_of_the_shares() -> None:
    row, step = [0.0, 1.0, 2.0, -1.0], TargetStep(1, [(1, 0.25), (2, 0.75)])
    norm = math.log(sum(map(math.exp, row)))
    assert step_loss(row, step, 1.0, 1.0) == pytest.approx(norm - (0.25 * 1.0 + 0.75 * 2.0))
    assert step_loss(row, TargetStep(1, [(1, 1.0)]), 5.0, 5.0) == pytest.approx(norm - 1.0)
    assert step_loss([math.log(0.2), math.log(0.2), math.log(0.6)], TargetStep(0, [(0, 0.5), (1, 0.5)]), 1, 1) == (
        pytest.approx(1.609, abs=1e-3)
    )


def test_a_sum_is_no_mean_and_nan_is_no_loss() -> None:
    rows, steps = [[0.0, 1.0]] * 2, [TargetStep(0, [(0, 1.0)])] * 2
    right = step_loss(rows[0], steps[0], 1, 1)
    assert list(losses(rows, steps, (1, 1), (right, [right, right]), Ledger())) == []
    assert len(list(losses(rows, steps, (1, 1), (2 * right, [right, right]), Ledger()))) == 1
    assert len(list(losses(rows, steps, (1, 1), (right, [right, math.nan]), Ledger()))) == 1
    assert len(list(losses(rows, steps, (1, 1), (right, [right]), Ledger()))) == 1


@pytest.mark.parametrize(
    ("one", "right"),
    [
        (Subset("leave_one_out", [0, 2], [1], [1]), True),
        (Subset("random_subset", [0], [2, 1], [1, 2]), True),
        (Subset("full_prefix", [2, 1, 0], [], []), True),
        (Subset("leave_one_out", [0], [1, 2], [1, 2]), False),
        (Subset("random_subset", [0, 1], [1, 2], [1, 2]), False),
        (Subset("random_subset", [0], [1, 2], [1]), False),
        (Subset("random_subset", [0], [1, 2], [1, 1]), False),
        (Subset("random_subset", [0], [1, 2], [0, 1]), False),
        (Subset("full_prefix", [0, 1], [2], [2]), False),
    ],
)
def test_a_division_is_a_partition_and_its_candidates_remain(one: Subset, right: bool) -> None:
    assert (list(sound(EVEN, [one], Ledger())) == []) is right


def test_chances_are_even_where_each_object_is_left_out_as_often() -> None:
    turns = [Subset("leave_one_out", [i for i in range(3) if i != n % 3], [n % 3], [n % 3]) for n in range(300)]
    assert list(even(EVEN, turns, Ledger())) == []
    assert list(mixed(EVEN, turns, Ledger())) == []
    last = [Subset("leave_one_out", [0, 1], [2], [2])] * 300
    assert {p.subject for p in even(EVEN, last, Ledger())} == {"object 0", "object 1", "object 2"}
    assert [p.subject for p in seeded(turns[:9], turns[:9], turns[:9], Ledger())] == ["epoch"]
    assert [p.subject for p in seeded(last[:9], last[:9], turns[:9], Ledger())] == ["sample"]
    assert [p.subject for p in seeded(turns[:9], turns[1:10], turns[2:11], Ledger())] == ["seed"]


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (Objective(4.0, {"text": 2.0, "boxes": 2.0}, {"text/ce": 2.0, "boxes/l1": 2.0}), []),
        (Objective(4.0, {"text": 2.0, "boxes": 2.0}, {"text/ce": 2.0, "boxes/l1": 0.5}), ["atoms"]),
        (Objective(2.5, {"text": 2.0, "boxes": 0.5}, {"text/ce": 2.0, "boxes/l1": 0.5}), ["boxes", "total"]),
        (Objective(6.0, {"text": 2.0, "boxes": 2.0}, {"all": 6.0}), ["total"]),
        (Objective(math.nan, {"text": 2.0, "boxes": 2.0}, {}), ["total", "atoms"]),
    ],
)
def test_modules_add_up_to_the_total_and_so_does_what_is_logged(answer: Objective, wrong: list[str]) -> None:
    modules = [Module("text", 1.0, [2.0]), Module("boxes", 4.0, [0.5]), Module("off", 9.0, [1.0], on=False)]
    assert [p.subject for p in additive(modules, answer, Ledger())] == wrong
