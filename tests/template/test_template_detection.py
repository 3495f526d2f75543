"""Every claim holds on the reference, and every fault is caught by each claim that is said to catch it."""

from __future__ import annotations

from functools import cache

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.fault import Fault, faults
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.targets.reference import Memory, ReferenceTarget

STAGE1 = "configs/stage1/ablation/geometry_first_coco80.yaml"
boundaries.load(["template"])
CLAIMS = {c.id: c for c in claims("template")}
FAULTS = faults("template")
CASES = [(f, claim) for f in FAULTS for claim in f.caught_by]
MEMORY: Memory = {}


@cache
def found(broken: Fault | None, claim: str) -> Finding:
    """The finding of a claim on the reference, whole or broken."""
    return judge(ReferenceTarget(broken, MEMORY), CLAIMS[claim], STAGE1, 3)


def test_the_eight_claims_of_this_boundary_are_declared() -> None:
    names = "coord_tokens_atomic image_tokens_match_grid labels_cover_assistant no_truncation prompt_is_prefix"
    names += " render_pinned state_restored vocab_fits"
    assert [i.removeprefix("template.") for i in CLAIMS] == names.split()
    assert len(FAULTS) == 29


@pytest.mark.parametrize("claim", CLAIMS)
def test_holds_on_the_reference(claim: str) -> None:
    finding = found(None, claim)
    assert (finding.status, finding.violations, finding.note) == ("held", [], "")
    assert finding.checked >= 5


def test_findings_are_the_same_twice() -> None:
    def told(f: Finding) -> list[object]:
        return [f.status, f.checked, f.violations, f.violation_count]

    memory: Memory = {}
    asked: list[tuple[Fault | None, str]] = [*((None, c) for c in CLAIMS), *((f, c) for f, c in CASES)]
    for broken, claim in asked:
        again = judge(ReferenceTarget(broken, memory), CLAIMS[claim], STAGE1, 3)
        assert told(found(broken, claim)) == told(again)
