"""Every claim holds on the reference and is violated by each fault that names it; the shape of what they say."""

from __future__ import annotations

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.fault import faults
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.core.target import Target
from coordexp_audit_lib.targets.reference import Memory, ReferenceTarget

boundaries.load(["geometry"])
MEMORY: Memory = {}
CLAIMS = {i.id: i for i in claims("geometry")}
FAULTS = [f for f in faults() if f.surface.name.startswith("geometry.")]
CATALOGUE = {
    "record_contract": "P0",
    "bins_k999": "P1",
    "bins_in_range": "P1",
    "box_ordered": "P1",
    "never_dropped": "P0",
    "never_reordered": "P0",
    "no_resize": "P1",
    "size_matches_file": "P1",
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
    finding = found(ReferenceTarget(memory=MEMORY), claim, seed)
    assert (finding.status, finding.violations, finding.note) == ("held", [], "")
    assert finding.checked >= 10


def test_findings_are_the_same_from_run_to_run() -> None:
    broken = next(f for f in FAULTS if f.id == "geometry.boxes_grow")
    first, second = (found(ReferenceTarget(broken), "geometry.bins_k999") for _ in range(2))
    assert (first.violations, first.checked) == (second.violations, second.checked)
