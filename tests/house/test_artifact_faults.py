"""What only artifacts can break: each such claim holds on a sound one and is violated by each fault of its."""

from __future__ import annotations

from collections import Counter

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import declared
from coordexp_audit_lib.core.fault import Spoil, faults, spoils
from coordexp_audit_lib.run.prove import prove_artifacts

boundaries.load()


@pytest.mark.parametrize("spoil", spoils(), ids=lambda s: s.id)
def test_a_fault_of_an_artifact_is_caught_and_the_sound_one_holds(spoil: Spoil) -> None:
    (found,) = prove_artifacts([spoil])
    assert (found.caught, found.missed) == ([spoil.caught_by], {})
    assert found.example


def test_no_grave_claim_rests_on_fewer_than_three_faults() -> None:
    proven = Counter([c for f in faults() for c in f.caught_by] + [s.caught_by for s in spoils()])
    assert {c.id: proven[c.id] for c in declared() if c.severity == "P0" and proven[c.id] < 3} == {}
    assert len(faults()) >= 350


def test_a_fault_that_is_not_caught_is_told() -> None:
    (one, *_) = spoils()
    harmless = Spoil(one.id, one.caught_by, "nothing is broken", one.sound, lambda sound: sound)
    (found,) = prove_artifacts([harmless])
    assert (found.caught, found.missed) == ([], {one.caught_by: "held"})
