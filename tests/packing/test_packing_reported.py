"""Kinds of public reports, each in variants of our own: what was right stays silent, what was wrong is told.

A kind is a layout of a framework, as it came, and the fault that its report is about: NeMo Automodel 2172,
LLaMA-Factory 10783, 7754 and 10283, transformers 44474, Megatron-Bridge 4507, verl 3469, EasyR1 494.
"""

from __future__ import annotations

import numpy as np
import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.run.batches import audit_batch
from tests.packing import broken, generated

boundaries.load(["packing", "template"], ("claims",))
PADDED_TO = "positions are not padded with the ids"
KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "no mRoPE in a pack": (
        ("Automodel, numbered mask", "ms-swift, four rows", "TRL, flattened"),
        ("positions have one row",),
    ),
    "positions shorter than the padded ids": (
        ("LLaMA-Factory, numbered mask", "LLaMA-Factory, temporal row copied", "axolotl"),
        (PADDED_TO,),
    ),
    "mRoPE under a mask of numbers": (
        ("LLaMA-Factory, numbered mask", "Automodel, numbered mask", "numbered mask, places filled up"),
        ("mrope runs on over samples", "vision tokens count as text", "height and width are exchanged"),
    ),
    "a video as text": (
        ("ms-swift", "TRL, flattened", "verl"),
        ("vision tokens count as text", "one position of an image is wrong"),
    ),
    "bounds of padded THD": (
        ("Megatron, padded THD",),
        ("padded bounds end early", "a place is smaller than its sample"),
    ),
    "a pad too many": (("ms-swift", "verl", "left padded"), ("a stray image pad",)),
    "three rows and no bounds": (
        ("ms-swift", "LLaMA-Factory, numbered mask", "TRL, flattened"),
        ("nothing tells attention the samples",),
    ),
    "a mask of ones": (("ms-swift", "ms-swift, four rows", "TRL, flattened"), ("a mask of ones is added",)),
}
VARIANTS = 3


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_right_stays_silent(kind: str) -> None:
    for number, layout in enumerate(KINDS[kind][0]):
        for family in generated.WIDTHS:
            made = generated.right(np.random.default_rng(number), layout, family)
            found = [f for f in audit_batch(made.tensors).findings if f.status in ("violated", "error")]
            assert [(f.invariant, f.violations) for f in found] == []


@pytest.mark.parametrize(("kind", "fault"), [(k, f) for k, (_, faults) in KINDS.items() for f in faults])
def test_every_variant_of_what_is_wrong_is_told(kind: str, fault: str) -> None:
    change, claims, said = broken.FAULTS[fault]
    for layout in KINDS[kind][0]:
        for made, tensors in broken.some(change, VARIANTS, layout=layout):
            found = audit_batch(tensors).findings
            told = [(f.invariant, v.message) for f in found for v in f.violations]
            assert any(i in claims and any(s in m for s in said) for i, m in told), (made.layout, made.family, told)
