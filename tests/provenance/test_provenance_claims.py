"""Every claim holds on the reference, and every fault is noticed by each claim that it names."""

from __future__ import annotations

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.fault import faults
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.targets.reference import Memory, ReferenceTarget

boundaries.load(["provenance"])
CONFIG = "configs/stage2_ab/prod/ab_mixed.yaml"
CLAIMS = {c.id: c for c in claims("provenance")}
MEMORY: Memory = {}  # the oracle's answers, so that a fault costs its claim alone
FAULTS = [f for f in faults() if f.surface.name.startswith("provenance.")]


def test_the_catalogue_is_covered() -> None:
    names = ("files_present", "upstream_versions", "swift_source", "server_flags", "config_is_the_config")
    names += ("no_secrets", "weights_only", "rerun_drift", "cache_key")
    assert sorted(CLAIMS) == sorted(f"provenance.{n}" for n in names)
    assert {c for f in FAULTS for c in f.caught_by} == set(CLAIMS)


@pytest.mark.parametrize("name", ["provenance.no_secrets", "provenance.rerun_drift", "provenance.swift_source"])
def test_two_judgements_are_the_same(name: str) -> None:
    first, second = (judge(ReferenceTarget(memory=known), CLAIMS[name], CONFIG) for known in (MEMORY, None))
    assert first.evidence == second.evidence
    assert (first.status, first.checked) == (second.status, second.checked)
