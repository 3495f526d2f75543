"""The boundary on a real checkout."""

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.judge import judge

boundaries.load(["coordjson"])
CONFIG = "configs/stage2_ab/prod/ab_mixed.yaml"
PREDICTION = "src/common/prediction_parsing.py"
AT_B46E74F = {
    "coordjson.transpiled_before_json": {f"{PREDICTION}:100", f"{PREDICTION}:171"},
    "coordjson.linear_time": {"coordjson.growth", "coordjson.prediction_growth", "coordjson.rollout_growth"},
    "coordjson.salvage_accounts": {"entry is no record"},
    "coordjson.salvage_never_repairs": {"trailing comma", "coordinate spelling"},
    "coordjson.strict_rejects": {"trailing comma", "coordinate spelling", "a blank that JSON has not"},
    "coordjson.agrees_with_reference": {
        *("trailing comma", "coordinate spelling", "reason precedence", "open brace", "entry is no record")
    },
}


@pytest.mark.checkout
@pytest.mark.parametrize("claim", claims("coordjson"), ids=lambda c: c.id)
def test_the_claim_is_judged(checkout, claim):
    """No crash, nothing held vacuously; at b46e74f exactly what was confirmed by hand is violated."""
    finding = judge(checkout, claim, CONFIG)
    assert finding.status in ("held", "violated", "unbound"), finding.note
    assert finding.checked > 0 or finding.status == "unbound"
    if checkout.info().commit.startswith("b46e74f"):
        subjects = {v.subject.partition(" (")[0].partition(", in ")[0] for v in finding.violations}
        assert subjects == AT_B46E74F.get(claim.id, set())
