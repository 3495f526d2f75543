"""Predicates on plans, and the reference packer by exhaustion."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordexp_audit_lib.boundaries.packing.predicates import plans
from coordexp_audit_lib.boundaries.packing.reference import plans as reference
from coordexp_audit_lib.boundaries.packing.surfaces import DrainRequest, PlanRequest, StreamRequest
from coordexp_audit_lib.core.surface import Refuse

LENGTHS = st.lists(st.integers(1, 60), min_size=1, max_size=25)


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [([4, 1, 3], [0, 1]), ([4, 5, 2], [0, 2]), ([6, 1], [0]), ([7], []), ([2, 2, 2], [0, 1, 2])],
)
def test_first_in_first_out(lengths: list[int], expected: list[int]) -> None:
    assert plans.fifo(lengths, 6) == expected


@pytest.mark.parametrize(
    ("chosen", "words"),
    [([0, 1], []), ([0], ["fills less"]), ([1, 2], ["oldest"]), ([0, 1, 2], ["does not fit"]), ([0, 0], ["not a set"])],
)
def test_selection(chosen: list[int], words: Sequence[str]) -> None:
    found = [p.message for p in plans.at_least_fifo([3, 3, 3], chosen, 6)]
    assert len(found) == len(words) and all(w in m for w, m in zip(words, found, strict=True))


@pytest.mark.parametrize(
    ("packs", "skipped", "dropped", "count"),
    [
        ([[0, 1], [2]], 0, 0, 0),
        ([[0], [2]], 1, 0, 0),
        ([[0], [2]], 0, None, 1),
        ([[0, 1], [1, 2]], 0, 0, 1),
        ([[0, 1, 2], [3]], 0, 0, 1),
    ],
    ids=["all", "one skipped", "one lost", "one twice", "a stranger"],
)
def test_each_once(packs: list[list[int]], skipped: int, dropped: int | None, count: int) -> None:
    assert len(list(plans.each_once(3, packs, skipped, dropped))) == count


@pytest.mark.parametrize(
    ("lengths", "bound"), [([6, 6], 2), ([5, 5, 5, 5], 2), ([6, 6, 1, 1], 2), ([15, 3], 2), ([3, 3, 3, 1], 1)]
)
def test_lower_bound(lengths: list[int], bound: int) -> None:
    assert plans.lower_bound(lengths, 10) == bound


def long_case(allowed: bool, packs: list[list[int]], counts: tuple[int | None, int | None]) -> int:
    return len(list(plans.long_accounted([4, 12, 10], packs, 10, allowed=allowed, counts=counts)))


@pytest.mark.parametrize(
    ("allowed", "packs", "counts", "problems"),
    [
        (True, [[0], [1], [2]], (1, 0), 0),
        (True, [[0], [1], [2]], (2, 0), 0),  # a sample of exactly the capacity may count as over-long
        (True, [[0], [2]], (0, 1), 1),
        (True, [[0], [1], [2]], (0, 0), 1),
        (False, [[0], [2]], (0, 1), 0),
        (False, [[0], [2]], (0, None), 1),
    ],
)
def test_long_samples(allowed: bool, packs: list[list[int]], counts: tuple[int, int | None], problems: int) -> None:
    assert long_case(allowed, packs, counts) == problems


@given(LENGTHS, st.integers(1, 8), st.booleans(), st.booleans())
def test_reference_plan_keeps_every_claim(lengths: list[int], world: int, drop_last: bool, cut: bool) -> None:
    request = PlanRequest(lengths, 50, drop_last=drop_last, world_size=world, dataloader_drop_last=cut)
    try:
        made = reference.plan(request)
    except Refuse:
        return
    assert not list(plans.within_capacity(lengths, made.packs, 50, True))
    assert not list(plans.each_once(len(lengths), made.packs, made.skipped_long, made.dropped))
    assert not list(plans.ranks_aligned(made, world, cut))
    assert not list(plans.in_order(made.packs))


@given(LENGTHS, st.integers(1, 9), st.booleans())
def test_reference_stream_keeps_every_claim(lengths: list[int], buffer: int, drop_last: bool) -> None:
    made = reference.stream(StreamRequest(lengths, 50, buffer_size=buffer, drop_last=drop_last))
    assert not list(plans.within_capacity(lengths, made.packs, 50, True))
    assert not list(plans.each_once(len(lengths), made.packs, made.skipped_long, made.dropped))
    assert not list(plans.in_order(made.packs))


@given(LENGTHS)
def test_reference_drain_empties_the_buffer_oldest_first(lengths: list[int]) -> None:
    made = reference.drain(DrainRequest(lengths, 60))
    assert not list(plans.each_once(len(lengths), made.packs, 0, 0))
    assert [min(p) for p in made.packs] == sorted(min(p) for p in made.packs)


def test_reference_refuses_what_it_should() -> None:
    with pytest.raises(Refuse, match="1 packs for 4 ranks"):
        reference.plan(PlanRequest([40], 50, world_size=4, dataloader_drop_last=True))
    with pytest.raises(Refuse, match="packing_buffer"):
        reference.drain(DrainRequest([1, 1, 1], 50, buffer_cap=2))
