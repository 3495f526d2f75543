"""On a real checkout: the reference renders and packs as ms-swift's template does, token for token."""

from __future__ import annotations

import pytest

from coordexp_audit_lib.core.target import Target
from coordexp_audit_lib.packing import cases, reference, render
from coordexp_audit_lib.packing.row import TENSORS
from coordexp_audit_lib.packing.surfaces import BATCH, ENCODE, BatchRequest, EncodeRequest

pytestmark = pytest.mark.checkout


def test_samples_alone_are_rendered_token_for_token(checkout: Target) -> None:
    request = EncodeRequest(cases.samples())
    real, ours = checkout.ask(ENCODE, request).value.encoded, reference.encode(request).encoded
    assert len(real) == 8
    assert real == ours  # tokens, labels, lengths, grids and every pixel row


@pytest.mark.parametrize("path", ["dataset", "post_rollout"])
@pytest.mark.parametrize("padding_to", [0, 900])
def test_a_pack_is_collated_tensor_for_tensor(checkout: Target, path: str, padding_to: int) -> None:
    request = BatchRequest(cases.samples(), 900, path=path, padding_to=padding_to)
    encoded = reference.encode(EncodeRequest(request.samples)).encoded
    batches = checkout.ask(BATCH, request).value.batches
    assert sorted(m for b in batches for m in b.members) == list(range(8))
    for real in batches:
        ours = render.collate(encoded, real.members, padding_to)
        assert {k: v for k, v in real.ints.items() if k in TENSORS} == ours.ints
        assert {k: v for k, v in real.shapes.items() if k in TENSORS} == ours.shapes
        assert {k: v for k, v in real.dtypes.items() if k in TENSORS} == ours.dtypes
        assert real.pixel_rows == ours.pixel_rows


def test_a_text_only_pack_has_no_vision_tensor(checkout: Target) -> None:
    every = cases.samples()
    (batch,) = checkout.ask(BATCH, BatchRequest([every[1], every[4]], 400)).value.batches
    assert "image_grid_thw" not in batch.ints and batch.pixel_rows is None
    assert "attention_mask" not in batch.shapes
