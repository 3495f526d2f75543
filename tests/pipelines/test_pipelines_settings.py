"""Settings of a trainer in the words of its tree."""

from __future__ import annotations

from typing import Any

import pytest

from coordexp_audit_lib.pipelines.api import Unbound
from coordexp_audit_lib.pipelines.coordexp import symbols
from coordexp_audit_lib.pipelines.coordexp.harness import settings as written
from coordexp_audit_lib.pipelines.coordexp.harness import trainer

settings: Any = written  # untyped, for it runs in a target's interpreter

LATER = {
    symbols.STAGE2_CONFIG[0]: frozenset({"schedule", "pipeline", "channel_b"}),
    symbols.CHANNEL_B_CONFIG[0]: frozenset(),
    symbols.ROLLOUT_CONFIG[0]: frozenset({"channel_b_decode_batch_size", "eval_rollout_backend"}),
}


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "fields", LATER.__getitem__)


def test_a_tree_without_config_classes_gets_the_settings_as_they_are() -> None:
    assert settings.stage2(trainer.STAGE2) == trainer.STAGE2
    assert settings.objective(trainer.STAGE2) is None
    assert settings.matching(trainer.MATCHING)["decode_batch_size"] == trainer.MATCHING["decode_batch_size"]


@pytest.mark.usefixtures("later")
def test_a_later_tree_gets_no_setting_that_it_would_refuse() -> None:
    matching = settings.matching({**trainer.MATCHING, "rollout_backend": "vllm"}, variant="coco_80", ordering="random")
    assert "decode_batch_size" not in matching
    assert matching["channel_b_decode_batch_size"] == trainer.MATCHING["decode_batch_size"]
    assert (matching["prompt_variant"], matching["object_ordering"]) == ("coco_80", "random")
    assert matching["eval_rollout_backend"] == "vllm"
    assert set(settings.stage2(trainer.STAGE2)) == {"schedule", "channel_b"}


@pytest.mark.usefixtures("later")
def test_a_later_tree_gets_the_weights_as_modules() -> None:
    manifest = settings.objective({**trainer.STAGE2, "desc_ce_weight": 0.25, "bbox_ciou_weight": 0.0})
    assert manifest is not None
    configs = {m["name"]: m["config"] for m in manifest["objective"]}
    assert configs["token_ce"]["rollout_fn_desc_weight"] == 0.25
    assert configs["bbox_geo"] == {"smoothl1_weight": 1.0, "ciou_weight": 0.0}


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"n_softctx_iter": 2}, "stage2_ab.n_softctx_iter is removed by 03420c2"),
        ({"channel_b": {"drop_invalid_struct_ce_multiplier": 2.0}}, "drop_invalid_struct_ce_multiplier is removed by"),
    ],
)
def test_what_a_later_tree_cannot_be_told_is_unbound_with_the_commit(asked: dict[str, object], says: str) -> None:
    with pytest.raises(Unbound, match=says):
        settings.stage2({**trainer.STAGE2, **asked})
