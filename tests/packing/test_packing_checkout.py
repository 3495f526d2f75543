"""On a real checkout: the reference renders and packs as ms-swift's template does, token for token."""

from __future__ import annotations

import pytest

from coordexp_audit_lib.boundaries.packing import cases
from coordexp_audit_lib.boundaries.packing.artifact import TENSORS
from coordexp_audit_lib.boundaries.packing.reference import batches as reference
from coordexp_audit_lib.boundaries.packing.surfaces import BATCH, ENCODE, FORWARD, BatchRequest, EncodeRequest
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.core.target import Target
from tests.conftest import only_at_reference

pytestmark = pytest.mark.checkout
STAGE1, STAGE2 = "configs/stage1/ablation/geometry_first_coco80.yaml", "configs/stage2_ab/prod/ab_mixed.yaml"


def test_unpacked_samples_are_rendered_token_for_token(checkout: Target) -> None:
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
        ours = reference.collate(encoded, real.members, padding_to)
        assert {k: v for k, v in real.ints.items() if k in TENSORS} == ours.ints
        assert {k: v for k, v in real.shapes.items() if k in TENSORS} == ours.shapes
        assert {k: v for k, v in real.dtypes.items() if k in TENSORS} == ours.dtypes
        assert real.pixel_rows == ours.pixel_rows


def test_a_text_only_pack_has_no_vision_tensor(checkout: Target) -> None:
    every = cases.samples()
    (batch,) = checkout.ask(BATCH, BatchRequest([every[1], every[4]], 400)).value.batches
    assert "image_grid_thw" not in batch.ints and batch.pixel_rows is None
    assert "attention_mask" not in batch.shapes


def finding(checkout: Target, claim: str, config: str = STAGE2) -> Finding:
    (check,) = [i for i in claims("packing") if i.id == claim]
    return judge(checkout, check, config)


def test_positions_restart_as_the_trainers_call_the_model(checkout: Target) -> None:
    only_at_reference(checkout)
    found = finding(checkout, "packing.positions_restart")
    assert (found.status, found.violations, found.note) == ("held", [], "")
    assert found.checked >= 4


def test_isolation_is_not_held_on_the_strength_of_a_stand_in_for_the_kernel(checkout: Target) -> None:
    found = finding(checkout, "packing.segments_isolated")
    if "flash-attn" in {e.symbol for e in found.evidence if e.kind == "stand-in"}:
        assert (found.status, found.violations) == ("unbound", []) and "flash-attn" in found.note
    else:
        assert (found.status, found.violations, found.note) == ("held", [], "")
    assert found.checked >= 4


def test_a_pack_has_the_loss_of_its_samples_and_a_step_of_several_packs_has_not(checkout: Target) -> None:
    """executors.py weighs each pack by its samples, whatever they supervise."""
    found = finding(checkout, "packing.loss_equivalent")
    assert {v.subject for v in found.violations} == {"a step of Channel-A", "a step of Channel-B"}


def test_stage_1_packs_need_the_kernel_and_stage_2_packs_do_not(checkout: Target) -> None:
    """ms-swift passes three rows and cu_seq_lens; the stage-2 trainer puts the text row before them."""
    answers = {(r.path, r.attention): checkout.ask(FORWARD, r).value for _, r in cases.forward_requests()}
    rows = {path: {p.position_rows for p in a.packs} for (path, _), a in answers.items()}
    assert rows == {"dataset": {3}, "post_rollout": {4}}
    apart = {k: max(d for p in a.packs for d in p.differences) for k, a in answers.items()}
    assert apart["dataset", "sdpa"] > 1 and not answers["dataset", "sdpa"].sdpa_accepted
    assert all(d < 1e-5 for k, d in apart.items() if k != ("dataset", "sdpa"))


def test_the_anchored_stage_1_config_is_refused_by_its_own_launcher(checkout: Target) -> None:
    only_at_reference(checkout)
    found = finding(checkout, "packing.eval_unpacked", STAGE1)
    (violation,) = found.violations
    assert "its own launcher refuses that before training: the entrypoint cannot launch" in violation.message
    assert violation.where is not None and violation.where.symbol == "training.eval_packing"  # the config's own line
    assert finding(checkout, "packing.eval_unpacked", STAGE2).status == "held"
