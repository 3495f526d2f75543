"""Every claim holds on the reference, and every known-bad case is noticed by the claims that it names."""

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.fault import faults
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.targets.reference import ReferenceTarget

boundaries.load(["coordjson"])
CONFIG = "configs/stage2_ab/prod/ab_mixed.yaml"
OURS = faults("coordjson")
CLAIMS = {i.id: i for i in claims("coordjson")}

P0 = ["roundtrip", "strict_rejects", "spans_exact", "agrees_with_reference"]
P0 += ["salvage_accounts", "salvage_never_repairs"]
CATALOGUE = {f"coordjson.{n}": ("P0", "B") for n in P0}
CATALOGUE |= {"coordjson.salvage_first_container": ("P1", "B"), "coordjson.linear_time": ("P2", "B")}
CATALOGUE["coordjson.transpiled_before_json"] = ("P1", "S")


def test_the_boundary_makes_every_claim_of_the_catalogue():
    assert {i.id: (i.severity, i.kind) for i in CLAIMS.values()} == CATALOGUE


@pytest.mark.parametrize("claim", CATALOGUE)
def test_the_claim_holds_on_the_reference(claim, memory):
    finding = judge(ReferenceTarget(memory=memory), CLAIMS[claim], CONFIG)
    assert (finding.status, finding.violations, finding.note) == ("held", [], "")
    assert finding.checked > 0


def test_two_runs_say_the_same():
    for claim in ("coordjson.linear_time", "coordjson.agrees_with_reference"):
        fault = next(f for f in OURS if claim in f.caught_by)
        first, second = (judge(ReferenceTarget(fault), CLAIMS[claim], CONFIG) for _ in range(2))
        assert first.violations == second.violations != []
