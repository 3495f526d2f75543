"""What a key may be left with when ranks are reduced, and what it may not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from coordexp_audit_lib.boundaries.metrics.predicates.reduction import apart, reduced_by_key
from coordexp_audit_lib.core.claim import Ledger

A, B, C = (apart(["a", "b", "c"])[key] for key in "abc")
RANKS = [{"a": A, "b": B}, {"b": B, "c": C}]


@pytest.mark.parametrize(
    ("left", "wrong"),
    [
        ({"a": A, "b": 2 * B, "c": C}, []),
        ({"a": A / 2, "b": B, "c": C / 2}, []),  # means over both ranks; a maximum
        ({"b": B, "other": 1e9}, []),
        ({"a": A + B, "b": B + C, "c": C + A}, ["a", "b"]),  # c is hardly more than its own
        ({"a": 2 * A, "b": B, "c": C}, ["a"]),  # one rank alone has it, so it can't be twice as much
        ({"a": A, "b": "nan", "c": 0.0}, ["b", "c"]),
    ],
)
def test_a_key_is_left_with_what_its_own_values_can_become(left: Mapping[str, float | str], wrong: list[str]) -> None:
    assert [p.subject for p in reduced_by_key(RANKS, [left, {}], Ledger())] == wrong


def test_a_value_of_another_key_is_named() -> None:
    (problem,) = reduced_by_key(RANKS, [{"a": 2 * B}], Ledger())
    assert "which is a value of b" in problem.message


def test_nothing_left_is_nothing_judged() -> None:
    ledger = Ledger()
    assert list(reduced_by_key(RANKS, [{}, {}], ledger)) == []
    assert ledger.checked == 0
