"""Every claim holds on the reference, and every deliberate break is caught by the claims that it names."""

from __future__ import annotations

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.fault import faults
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.targets.reference import Memory, ReferenceTarget

boundaries.load(["metrics"])
CLAIMS = {i.id: i for i in claims("metrics")}
BREAKS = {f.id: f for f in faults() if f.id.startswith("metrics.")}
CATALOGUE = {
    "required_keys": "P1",
    "only_when_executed": "P1",
    "b_ratio_consistent": "P1",
    "counters_are_counts": "P1",
    "reasons_add_up": "P1",
    "rates_divide": "P1",
    "identity_not_averaged": "P1",
    "no_dilution": "P1",
    "reduced_by_key": "P1",
    "evaluation_order_free": "P1",
    "rollout_evaluation": "P1",
    "shards_merged": "P1",
    "per_step_not_cumulative": "P1",
    "finite": "P0",
    "schema_stable": "P2",
}


def test_every_row_of_the_catalogue_is_there_with_its_severity() -> None:
    assert {i.removeprefix("metrics."): c.severity for i, c in CLAIMS.items()} == CATALOGUE


@pytest.mark.parametrize("claim", CLAIMS)
def test_the_reference_holds(claim: str, memory: Memory) -> None:
    finding = judge(ReferenceTarget(memory=memory), CLAIMS[claim], "")
    assert (finding.status, finding.violations) == ("held", [])
    assert finding.checked >= 2
