"""The boundary's claims hold on the reference, and each is violated by its faults."""

from __future__ import annotations

import importlib

import pytest

from coordexp_audit_lib.core.claim import invariants
from coordexp_audit_lib.core.fault import Fault, faults
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.targets.reference import ReferenceTarget

for _part in ("contract", "reference", "invariants", "faults"):
    importlib.import_module(f"coordexp_audit_lib.boundaries.upstream.{_part}")

MINE = [i for i in invariants() if i.boundary == "upstream"]
FAULTS = [f for f in faults() if f.id.startswith("upstream.")]
CONFIG = "configs/stage2_ab/prod/ab_mixed.yaml"
WANTED = {
    "trainer_helpers",
    "request_config",
    "infer_request",
    "template_surface",
    "qwen3vl_surface",
    "rollout_cli",
    "client_surface",
    "versions_matrix",
}


def test_the_catalogue_is_complete() -> None:
    assert {i.id for i in MINE} == {f"upstream.{name}" for name in WANTED}
    assert {id for f in FAULTS for id in f.caught_by} == {i.id for i in MINE}


@pytest.mark.parametrize("check", MINE, ids=lambda i: i.id)
def test_holds_on_the_reference(check: object) -> None:
    finding = judge(ReferenceTarget(), check, CONFIG)  # type: ignore[arg-type]
    assert (finding.status, finding.note, [v.message for v in finding.violations]) == ("held", "", [])
    assert finding.checked >= 5


@pytest.mark.parametrize("broken", FAULTS, ids=lambda f: f.id)
def test_every_fault_is_caught(broken: Fault) -> None:
    for check in MINE:
        if check.id in broken.caught_by:
            finding = judge(ReferenceTarget(broken), check, CONFIG)
            assert finding.status == "violated", (check.id, finding.note)
            assert all(v.message for v in finding.violations)
