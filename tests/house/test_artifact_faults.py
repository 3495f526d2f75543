"""What only artifacts can break: each such claim holds on a sound one and is violated by each fault of its."""

from __future__ import annotations

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import declared
from coordexp_audit_lib.core.fault import Spoil, spoils
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import Artifact, judge_artifact

boundaries.load()


def judged(spoil: Spoil, *, broken: bool) -> Finding:
    (claim,) = [c for c in declared() if c.id == spoil.caught_by]
    sound = spoil.sound()
    return judge_artifact(Artifact(spoil.apply(sound) if broken else sound), claim)


@pytest.mark.parametrize("spoil", spoils(), ids=lambda s: s.id)
def test_a_fault_of_an_artifact_is_caught_and_the_sound_one_holds(spoil: Spoil) -> None:
    sound, broken = judged(spoil, broken=False), judged(spoil, broken=True)
    assert (sound.status, sound.checked > 0) == ("held", True), (sound.note, sound.violations)
    assert broken.status == "violated" and broken.violations[0].message, spoil.summary
