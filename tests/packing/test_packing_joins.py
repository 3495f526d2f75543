"""Rows that a trainer joins by itself, past the packing of the dataset and of rollouts."""

from __future__ import annotations

import msgspec
import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.packing import surfaces as s
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.fault import Fault, Honest
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.pipelines.coordexp import contract
from coordexp_audit_lib.targets.reference import ReferenceTarget

boundaries.load(["packing"])
POSITIONS = next(c for c in claims("packing") if c.id == "packing.positions_restart")


@pytest.fixture
def newest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference under the contract of the newest era, in which a trainer joins rows."""
    monkeypatch.setattr(ReferenceTarget, "contract", lambda self: contract.of_era("2026-05"))


def text_rows(request: s.JoinRequest, honest: Honest) -> s.BatchResponse:
    """Each mRoPE row is the text positions."""
    made = honest(request)
    batches = [
        msgspec.structs.replace(b, ints={**b.ints, "position_ids": [b.ints["text_position_ids"]] * 3})
        for b in made.batches
    ]
    return s.BatchResponse(batches)


def on(fault: Fault | None = None) -> Finding:
    return judge(ReferenceTarget(fault), POSITIONS, "")


BROKEN = Fault("text_rows", s.JOIN, (POSITIONS.id,), "", text_rows)


@pytest.mark.usefixtures("newest")
def test_they_are_judged_by_the_claims_on_packs_and_placed_at_the_trainers_function() -> None:
    assert on().status == "held"
    finding = on(BROKEN)
    assert finding.status == "violated"
    assert {v.subject for v in finding.violations} == {"rows with pictures, joined by the trainer"}
    assert all(v.where and v.where.symbol.endswith(":join") for v in finding.violations)


def test_they_are_no_part_of_a_pipeline_whose_trainers_join_none() -> None:
    assert on(BROKEN).status == "held"
