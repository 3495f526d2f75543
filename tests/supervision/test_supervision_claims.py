"""Every claim of boundary 07 holds on the reference, and each is noticed to fail under the faults that name it."""

from __future__ import annotations

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import Claim, claims
from coordexp_audit_lib.core.fault import faults
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.targets.reference import Memory, ReferenceTarget

pytestmark = pytest.mark.model

boundaries.load(["supervision"])
CLAIMS = {i.id: i for i in claims("supervision")}
FAULTS = faults("supervision")
CATALOGUE = {
    *("schedule", "rollout_seed", "token_roles_partition", "coord_out_of_ce", "fp_neutral", "matched_struct_only"),
    *("fn_injected", "append_tokenization", "closure", "prefix_kept", "invalid_rollout_fallback"),
    *("match_deterministic", "expectation_decode", "geometry_finite", "softctx_forwards", "ce_from_first_forward"),
    *("softctx_gradient", "no_helper_kwargs", "multiplier_scope"),
    *("candidate_targets", "candidate_loss", "subset_sampling", "objective_additive", "suffix_taught", "branch_scored"),
}


def test_every_row_of_the_catalogue_is_a_claim_with_a_known_bad_case() -> None:
    assert {i.removeprefix("supervision.") for i in CLAIMS} == CATALOGUE
    assert {caught for f in FAULTS for caught in f.caught_by} == set(CLAIMS)


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=list(CLAIMS))
def test_the_reference_keeps_the_claim(claim: Claim, memory: Memory) -> None:
    found = judge(ReferenceTarget(memory=memory), claim, "")
    assert (found.status, found.violations, found.note) == ("held", [], "")
    assert found.checked >= 7


def test_a_masked_closure_is_a_violation_of_its_claim_and_no_crash_of_another(memory: Memory) -> None:
    masked = next(f for f in FAULTS if f.id == "supervision.stop_neutral")
    found = judge(ReferenceTarget(masked, memory), CLAIMS["supervision.token_roles_partition"], "")
    assert found.status in ("held", "violated"), found.note
