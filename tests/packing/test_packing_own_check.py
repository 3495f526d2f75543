"""A pipeline's own check of its batches: what the claim breaks is broken, and the reference refuses it."""

from __future__ import annotations

import copy

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.packing import surfaces as s
from coordexp_audit_lib.boundaries.packing.cases import samples
from coordexp_audit_lib.boundaries.packing.claims.own_check import BROKEN, VOCABULARY
from coordexp_audit_lib.boundaries.packing.reference.batches import collate, encode_one
from coordexp_audit_lib.boundaries.packing.reference.checking import own_check
from coordexp_audit_lib.core.surface import Refuse

boundaries.load(["packing"])
SOUND = collate([encode_one(samples()[i]) for i in (0, 1, 3)], [0, 1, 2])


def test_a_sound_batch_passes() -> None:
    assert own_check(s.CheckRequest(SOUND, SOUND, 1, VOCABULARY)).accepted


@pytest.mark.parametrize("name", BROKEN)
def test_each_break_changes_the_batch_and_is_refused(name: str) -> None:
    broken = copy.deepcopy(SOUND)
    BROKEN[name](broken)
    assert broken.ints != SOUND.ints
    with pytest.raises(Refuse):
        own_check(s.CheckRequest(broken, SOUND, 1, VOCABULARY))
