"""What later eras of the contract allow and demand: objects that keep structure, targets that are written anew."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from coordexp_audit_lib.boundaries.supervision.cases import rollouts
from coordexp_audit_lib.boundaries.supervision.cases.asking import segments
from coordexp_audit_lib.boundaries.supervision.predicates.reading import FALSE
from coordexp_audit_lib.boundaries.supervision.predicates.rewritten import rewritten
from coordexp_audit_lib.boundaries.supervision.predicates.roles import COORDINATE, DESC, STRUCTURE
from coordexp_audit_lib.boundaries.supervision.predicates.targets import Supervised, neutral
from coordexp_audit_lib.boundaries.supervision.surfaces import CHANNEL_B, ChannelBRequest
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.kit.coordjson import container
from coordexp_audit_lib.targets.reference import ReferenceTarget

THREE = [rollouts.CAT, rollouts.DOG, rollouts.BIRD]  # the third is a false positive


def supervised(request: ChannelBRequest) -> Supervised:
    answer = ReferenceTarget().ask(CHANNEL_B, request).value
    return next(one for one, _ in segments(request, answer))


@pytest.fixture(scope="module")
def plain() -> Supervised:
    return supervised(rollouts.one(rollouts.GT, rollouts.rollout(THREE), backward=False))


def raised(one: Supervised, role: str) -> Supervised:
    """The segment with a gradient on tokens of the false positive that have this role alone."""
    (index,) = one.reading.with_fate(FALSE)
    view, size = one.reading.view, len(one.segment.ids)
    hit = {p for p in view.of(index) if view.tokens[p].roles == (role,)}
    grads = {"text_grad": [float(p in hit) for p in range(size)], "coord_grad": [0.0] * size, "labels": []}
    return replace(one, segment=replace(one.segment, **grads))


@pytest.mark.model
@pytest.mark.parametrize(
    ("extras", "role", "wrong"),
    [
        ("nothing", STRUCTURE, True),
        ("nothing", DESC, True),
        ("structure", STRUCTURE, False),
        ("structure", DESC, True),
        ("structure", COORDINATE, True),
    ],
)
def test_what_of_an_unmatched_object_may_be_supervised(plain: Supervised, extras: str, role: str, wrong: bool) -> None:
    one = replace(raised(plain, role), extras=extras)
    ledger = Ledger()
    assert bool(list(neutral(one, ledger))) is wrong
    assert ledger.checked


@pytest.mark.model
def test_a_target_that_begins_as_the_serializer_writes_it_is_right(plain: Supervised) -> None:
    assert list(rewritten(plain, rollouts.rollout(THREE))) == []


@pytest.mark.model
@pytest.mark.parametrize(
    ("rollout", "says"),
    [
        (rollouts.rollout([*THREE, rollouts.ODD[3]]), "a usable object of the rollout is left out"),
        (rollouts.rollout(THREE[:2]), "none of the rollout's, or stands out of its order"),
        (rollouts.rollout([rollouts.DOG, rollouts.CAT, rollouts.BIRD]), "stands out of its order"),
    ],
)
def test_a_target_of_other_objects_than_the_rollouts_is_noticed(
    plain: Supervised, rollout: list[int], says: str
) -> None:
    assert any(says in p.message for p in rewritten(plain, rollout))


@pytest.mark.model
def test_an_object_that_overlaps_a_kept_one_may_be_left_out(plain: Supervised) -> None:
    again = replace(rollouts.CAT, bbox=[k + 2 for k in rollouts.CAT.bbox])
    assert list(rewritten(plain, rollouts.rollout([*THREE, again]))) == []


@pytest.mark.model
def test_a_text_that_the_serializer_would_not_write_is_noticed() -> None:
    text = container(rollouts.write(THREE)).replace(", ", ",")
    one = supervised(rollouts.one(rollouts.GT, rollouts.answer(text), backward=False))
    assert [p.message for p in rewritten(one, rollouts.answer(text))] == [
        "the kept text is not as the serializer writes it"
    ]


def test_cases_of_several_forwards_are_asked_for_as_many_as_there_are() -> None:
    assert [r.n_iter for _, r in rollouts.channel_a()] == [1, 2, 3, 3, 2, 2, 1]
    assert {r.n_iter for _, r in rollouts.channel_a(1)} == {1}
    assert len({name for name, _ in rollouts.channel_a(1)}) == 7
