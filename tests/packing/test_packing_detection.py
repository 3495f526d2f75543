"""Every claim holds on the reference, and every fault is caught by each claim that is said to catch it."""

from __future__ import annotations

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.fault import Fault, faults
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.targets.reference import ReferenceTarget

CONFIG = "configs/stage2_ab/prod/ab_mixed.yaml"
boundaries.load(["packing"])
CLAIMS = {c.id: c for c in claims("packing")}
FAULTS = faults("packing")
CASES = [(f, claim) for f in FAULTS for claim in f.caught_by]


def test_the_thirteen_claims_of_this_boundary_are_declared() -> None:
    names = "capacity each_once stable_order ddp_aligned fill_at_least_fifo fields_aligned cu_seqlens positions_restart"
    names += " no_cross_boundary_label vision_in_order segments_isolated loss_equivalent eval_unpacked"
    assert sorted(i.removeprefix("packing.") for i in CLAIMS) == sorted(names.split())


@pytest.mark.parametrize("claim", CLAIMS)
def test_holds_on_the_reference(claim: str) -> None:
    finding = judge(ReferenceTarget(), CLAIMS[claim], CONFIG)
    assert (finding.status, finding.violations, finding.note) == ("held", [], "")
    assert finding.checked >= 6


@pytest.mark.parametrize(("broken", "claim"), CASES, ids=[f"{f.id}-{c}" for f, c in CASES])
def test_fault_is_caught(broken: Fault, claim: str) -> None:
    finding = judge(ReferenceTarget(broken), CLAIMS[claim], CONFIG)
    assert finding.status == "violated"
    assert finding.violations[0].message and finding.violations[0].where is not None


def test_every_claim_has_a_fault() -> None:
    assert {c for _, c in CASES} == set(CLAIMS)


def test_findings_are_the_same_twice() -> None:
    def once() -> list[object]:
        found = [judge(ReferenceTarget(f), CLAIMS[c], CONFIG, 3) for f, c in CASES]
        return [(f.status, f.checked, f.violations, f.violation_count) for f in found]

    assert once() == once()
