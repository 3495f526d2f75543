"""Every claim holds on the reference, and says the same each time that it is asked."""

from __future__ import annotations

from typing import Literal

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.packing.reference import steps
from coordexp_audit_lib.boundaries.packing.surfaces import StepRequest
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.fault import faults
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.targets.reference import Memory, ReferenceTarget

CONFIG = "configs/stage2_ab/prod/ab_mixed.yaml"
boundaries.load(["packing"])
CLAIMS = {c.id: c for c in claims("packing")}
FAULTS = faults("packing")
CASES = [(f, claim) for f in FAULTS for claim in f.caught_by]


def test_the_claims_of_this_boundary_are_declared() -> None:
    names = "capacity each_once stable_order ddp_aligned fill_at_least_fifo fields_aligned cu_seqlens positions_restart"
    names += " no_cross_boundary_label vision_in_order segments_isolated loss_equivalent eval_unpacked own_check"
    assert sorted(i.removeprefix("packing.") for i in CLAIMS) == sorted(names.split())


@pytest.mark.parametrize("claim", CLAIMS)
def test_holds_on_the_reference(claim: str, memory: Memory) -> None:
    finding = judge(ReferenceTarget(memory=memory), CLAIMS[claim], CONFIG)
    assert (finding.status, finding.violations, finding.note) == ("held", [], "")
    assert finding.checked >= 6


def test_findings_are_the_same_twice(memory: Memory) -> None:
    def once(memory: Memory) -> list[object]:
        found = [judge(ReferenceTarget(f, memory), CLAIMS[c], CONFIG, 3) for f, c in CASES]
        return [(f.status, f.checked, f.violations, f.violation_count) for f in found]

    assert once(memory) == once({})


@pytest.mark.parametrize("channel", ["A", "B"])
def test_a_step_has_one_loss_however_it_is_packed(channel: Literal["A", "B"]) -> None:
    whole, split = (steps.step(StepRequest([1, 1, 9, 1], length, channel)) for length in (4096, 300))
    assert (len(whole.packs), len(split.packs)) == (1, 2)
    assert whole.loss == split.loss != steps.weighed(StepRequest([1, 1, 9, 1], 300, channel), split.packs).loss
