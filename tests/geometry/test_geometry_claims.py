"""Every claim holds on the reference and is violated by each fault that names it; the shape of what they say."""

from __future__ import annotations

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.fault import Fault, faults
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.core.target import Target
from coordexp_audit_lib.targets.reference import ReferenceTarget

boundaries.load(["geometry"])
CLAIMS = {i.id: i for i in claims("geometry")}
FAULTS = [f for f in faults() if f.surface.name.startswith("geometry.")]
CATALOGUE = {
    "record_contract": "P0",
    "bins_k999": "P0",
    "bins_in_range": "P0",
    "box_ordered": "P0",
    "never_dropped": "P0",
    "never_reordered": "P0",
    "no_resize": "P0",
    "size_matches_file": "P0",
    "augment_identity": "P1",
    "sampling_deterministic": "P1",
}


def found(target: Target, claim: str, seed: int = 0) -> Finding:
    return judge(target, CLAIMS[claim], "", seed)


def test_the_catalogue_is_covered() -> None:
    assert {i.id: i.severity for i in CLAIMS.values()} == {f"geometry.{k}": v for k, v in CATALOGUE.items()}
    assert not any(i.per_config for i in CLAIMS.values())


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("seed", [0, 7])
def test_held_on_the_reference(claim: str, seed: int) -> None:
    finding = found(ReferenceTarget(), claim, seed)
    assert (finding.status, finding.violations, finding.note) == ("held", [], "")
    assert finding.checked >= 10


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.id)
def test_a_fault_is_caught(fault: Fault) -> None:
    for claim in fault.caught_by:
        finding = found(ReferenceTarget(fault), claim)
        assert finding.status == "violated", (claim, finding.note)
        first = finding.violations[0]
        assert first.message and first.where is not None and first.where.line > 0


def test_each_claim_has_a_known_bad_case() -> None:
    assert set(CLAIMS) == {claim for f in FAULTS for claim in f.caught_by}


def test_findings_are_the_same_from_run_to_run() -> None:
    broken = next(f for f in FAULTS if f.id == "geometry.boxes_grow")
    first, second = (found(ReferenceTarget(broken), "geometry.bins_k999") for _ in range(2))
    assert (first.violations, first.checked) == (second.violations, second.checked)
