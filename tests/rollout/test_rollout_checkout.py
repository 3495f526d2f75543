"""On a real checkout: every question is answered by the tree's own code, twice alike, and nothing is left running."""

from __future__ import annotations

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.rollout import surfaces as s
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.core.target import Target
from tests.conftest import only_at_reference

pytestmark = pytest.mark.checkout
boundaries.load(["rollout"])
CLAIMS = {c.id: c for c in claims("rollout")}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_is_decided_and_decided_alike_twice(checkout: Target, claim: str) -> None:
    first, second = (judge(checkout, CLAIMS[claim], "") for _ in range(2))
    assert first.status in ("held", "violated"), first.note
    assert (first.status, first.checked, first.violations) == (second.status, second.checked, second.violations)


def test_a_sound_server_is_asked_once_and_its_answers_come_in_order(checkout: Target) -> None:
    served = checkout.ask(s.SERVER, s.ServerRequest("none", 4, 5.0)).value
    assert (served.error, served.outputs, served.posts) == ("", [0, 1, 2, 3], [[0, 1, 2, 3]])


def test_every_rank_sends_its_requests_to_the_servers_in_order(checkout: Target) -> None:
    (runs,) = checkout.ask(s.DISPATCH, s.DispatchRequest([s.Topology(5, [1, 2], 2, 2)], 42, 7)).value.runs
    assert [[n for c in run.calls for n in c.requests] for run in runs] == [[0, 1, 2, 3, 4]] * 2


def test_two_real_processes_reduce_metrics(checkout: Target) -> None:
    only_at_reference(checkout)
    same = [{"loss/ce": 1.0}, {"loss/ce": 3.0}]
    ended = checkout.ask(s.TWO_RANKS, s.RanksRequest("metrics", "stage2", same)).value
    assert ended.bounded
    assert [r.metrics["loss/ce"] for r in ended.ranks] == [2.0, 2.0]
