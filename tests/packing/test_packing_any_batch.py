"""Any batch: a right one of any kind is without a finding, one with a single fault is told, with the tensor at fault.

A seeded share of what `benchmarks/any_batch.py` makes ten thousand of.
"""

from __future__ import annotations

import numpy as np
import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.run.batches import audit_batch
from tests.packing import broken, generated

boundaries.load(["packing", "template"], ("claims",))


@pytest.mark.parametrize("family", generated.FAMILIES)
@pytest.mark.parametrize("layout", generated.LAYOUTS)
def test_a_right_batch_is_without_a_finding(layout: str, family: str) -> None:
    for seed in range(3):
        made = generated.right(np.random.default_rng(seed), layout, family)
        found = audit_batch(made.tensors).findings
        assert [(f.invariant, f.violations, f.note) for f in found if f.status in ("violated", "error")] == []


@pytest.mark.parametrize("fault", broken.FAULTS)
def test_a_batch_with_one_fault_is_told_with_the_field(fault: str) -> None:
    change, claims, said = broken.FAULTS[fault]
    for made, tensors in broken.some(change, 4):
        found = audit_batch(tensors).findings
        told = [(f.invariant, v.message) for f in found for v in f.violations]
        assert any(i in claims and any(s in m for s in said) for i, m in told), (made.layout, made.family, told)
        assert [(f.invariant, f.note) for f in found if f.status == "error"] == []


def test_there_are_faults_of_many_kinds() -> None:
    assert len(broken.FAULTS) >= 40
    assert len(generated.LAYOUTS) >= 20
