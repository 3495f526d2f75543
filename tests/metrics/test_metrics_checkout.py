"""The claims on a real CoordExp checkout, where its own trainer runs on two gloo ranks. What is violated at the
reference commit was confirmed in its code."""

from __future__ import annotations

import msgspec
import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.metrics import cases
from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import vocabulary
from coordexp_audit_lib.boundaries.metrics.surfaces import LOG, log_of
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.core.target import Target
from tests.conftest import only_at_reference

boundaries.load(["metrics"])
pytestmark = pytest.mark.checkout
NEWEST = "cd05f3b"
VIOLATED = {
    "metrics.required_keys": {"stage2_ab/b_ratio_realized"},
    "metrics.only_when_executed": {"rollout/precision", "rollout/recall", "rollout/f1"},
    "metrics.b_ratio_consistent": {"stage2_ab/b_ratio_realized"},
    "metrics.counters_are_counts": {"train/micro_steps"},
    "metrics.reasons_add_up": {"stage2_ab/channel_b/strict_drop/N_drop_invalid"},
    "metrics.rates_divide": {"train/samples_per_micro"},
    "metrics.identity_not_averaged": {"rollout/seed_base"},
    "metrics.no_dilution": {cases.GAUGE},
}


@pytest.fixture(scope="module")
def findings(checkout: Target) -> dict[str, Finding]:
    return {i.id: judge(checkout, i, "") for i in claims("metrics")}


def test_no_claim_ends_in_an_error(findings: dict[str, Finding]) -> None:
    assert {i: f.note for i, f in findings.items() if f.status == "error"} == {}


def test_the_reference_commit_breaks_what_was_confirmed(checkout: Target, findings: dict[str, Finding]) -> None:
    only_at_reference(checkout)
    assert {i: f.status for i, f in findings.items() if f.status != "violated"} == {
        "metrics.per_step_not_cumulative": "unbound",  # of Channel-A's own timings there are two values
        "metrics.finite": "held",
        "metrics.reduced_by_key": "held",
        "metrics.evaluation_order_free": "held",
        "metrics.rollout_evaluation": "held",
        "metrics.shards_merged": "unbound",  # not in this tree
    }
    for claim, subjects in VIOLATED.items():
        assert {v.subject for v in findings[claim].violations} == subjects


def test_the_newest_commit_breaks_what_was_confirmed(checkout: Target, findings: dict[str, Finding]) -> None:
    if not checkout.info().commit.startswith(NEWEST):
        pytest.skip(f"the list is of {NEWEST}")
    assert {i: f.status for i, f in findings.items() if f.status != "violated"} == {
        "metrics.per_step_not_cumulative": "unbound",
        "metrics.counters_are_counts": "held",
        "metrics.only_when_executed": "held",
        "metrics.finite": "held",
        "metrics.evaluation_order_free": "held",
        "metrics.rollout_evaluation": "held",
        "metrics.shards_merged": "held",
    }
    assert {v.subject for v in findings["metrics.identity_not_averaged"].violations} == {"rollout/seed_base"}


def test_the_run_rolls_out_on_both_ranks_and_its_log_is_the_same_twice(checkout: Target) -> None:
    if checkout.bindings()[LOG.name].status not in ("bound", "moved"):
        pytest.skip("this tree's trainer has no log")
    _, request = cases.runs()[0]
    first = checkout.ask(LOG, request).value
    rows = log_of(first, vocabulary(checkout.contract())).train
    assert "".join(r.channel for r in rows) == "ABBBABBB"
    assert [r.values["stage2/raw_rollouts"] for r in rows if r.channel == "B"] == [6.0] * 6
    again = checkout.ask(LOG, msgspec.structs.replace(request, packing_length=request.packing_length + 1)).value
    assert [r.get("rollout/seed_base") for r in again.rows] == [r.get("rollout/seed_base") for r in first.rows]
