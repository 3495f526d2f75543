"""The same claims on a real tree, if one is at hand."""

from __future__ import annotations

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.core.target import Target

boundaries.load(["supervision"])
REFERENCE_COMMIT = "b46e74f"
VIOLATED = {
    "supervision.append_tokenization",
    "supervision.fn_injected",
    "supervision.fp_neutral",
    "supervision.invalid_rollout_fallback",
    "supervision.match_deterministic",
    "supervision.matched_struct_only",
    "supervision.multiplier_scope",
    "supervision.rollout_seed",
}
NEWEST_COMMIT = "cd05f3b"
VIOLATED_THERE = {
    "supervision.append_tokenization",
    "supervision.fn_injected",
    "supervision.fp_neutral",
    "supervision.match_deterministic",
    "supervision.matched_struct_only",
    "supervision.prefix_kept",
    "supervision.subset_sampling",
    "supervision.suffix_taught",
    "supervision.token_roles_partition",
}
REMOVED_THERE = {"supervision.multiplier_scope": "5bef190", "supervision.softctx_gradient": "03420c2"}
# What only later commits have: objects in any order, and an objective of modules.
LATER = {
    f"supervision.{n}"
    for n in (
        *("branch_scored", "candidate_targets", "candidate_loss"),
        *("subset_sampling", "objective_additive", "suffix_taught"),
    )
}


@pytest.mark.checkout
def test_the_real_trainer_is_judged_on_every_claim(checkout: Target) -> None:
    found = [judge(checkout, claim, "") for claim in claims("supervision")]
    assert [f.note for f in found if f.status == "error"] == []
    if checkout.info().commit.startswith(REFERENCE_COMMIT):
        assert {f.invariant for f in found if f.status == "violated"} == VIOLATED
        assert {f.invariant for f in found if f.status == "unbound"} == LATER
        assert all(v.where is not None for f in found for v in f.violations)
    if checkout.info().commit.startswith(NEWEST_COMMIT):
        assert {f.invariant for f in found if f.status == "violated"} == VIOLATED_THERE
        unbound = {f.invariant: f.note for f in found if f.status == "unbound"}
        assert unbound.keys() == REMOVED_THERE.keys()
        assert all(f"is removed by {commit}" in unbound[claim] for claim, commit in REMOVED_THERE.items())
