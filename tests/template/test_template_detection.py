"""Every claim holds on the reference, and every fault is caught by each claim that is said to catch it."""

from __future__ import annotations

import pytest

from coordexp_audit_lib.boundaries.template import faults as _faults
from coordexp_audit_lib.boundaries.template import invariants as _invariants
from coordexp_audit_lib.boundaries.template import reference as _reference
from coordexp_audit_lib.core.claim import invariants
from coordexp_audit_lib.core.fault import Fault, faults
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.targets.reference import ReferenceTarget

STAGE1 = "configs/stage1/ablation/geometry_first_coco80.yaml"
DECLARED = (_faults, _invariants, _reference)
CLAIMS = {i.id: i for i in invariants("template")}
FAULTS = [f for f in faults() if f.id.startswith("template.")]
CASES = [(f, claim) for f in FAULTS for claim in f.caught_by]


def test_the_eight_claims_of_this_boundary_are_declared_in_the_catalogues_order() -> None:
    names = "coord_tokens_atomic vocab_fits render_pinned prompt_is_prefix labels_cover_assistant"
    names += " image_tokens_match_grid no_truncation state_restored"
    assert [i.removeprefix("template.") for i in CLAIMS] == names.split()


@pytest.mark.parametrize("claim", CLAIMS)
def test_holds_on_the_reference(claim: str) -> None:
    finding = judge(ReferenceTarget(), CLAIMS[claim], STAGE1)
    assert (finding.status, finding.violations, finding.note) == ("held", [], "")
    assert finding.checked >= 5


@pytest.mark.parametrize(("broken", "claim"), CASES, ids=[f"{f.id}-{c}" for f, c in CASES])
def test_fault_is_caught(broken: Fault, claim: str) -> None:
    finding = judge(ReferenceTarget(broken), CLAIMS[claim], STAGE1)
    assert (finding.status, finding.note) == ("violated", "")
    assert finding.violations[0].message and finding.violations[0].where is not None


def test_every_claim_has_a_fault() -> None:
    assert {c for _, c in CASES} == set(CLAIMS)


def test_findings_are_the_same_twice() -> None:
    def once() -> list[object]:
        found = [judge(ReferenceTarget(f), CLAIMS[c], STAGE1, 3) for f, c in CASES]
        return [(f.status, f.checked, f.violations, f.violation_count) for f in found]

    assert once() == once()
