"""The pipelines that come along: their recordings are judged as their page of the book says; nothing is left open."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.policies import applicable
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import audit
from coordexp_audit_lib.kit.asked import Asked
from coordexp_audit_lib.pipelines.api import NotSupported
from coordexp_audit_lib.pipelines.llamafactory import adapter as llamafactory
from coordexp_audit_lib.pipelines.llamafactory.world import settings_of as options_of
from coordexp_audit_lib.pipelines.ms_swift.world import family_of, settings_of
from coordexp_audit_lib.pipelines.trl import adapter as trl
from coordexp_audit_lib.pipelines.trl.world import World
from coordexp_audit_lib.targets.resolve import open_target

BOOK = Path(__file__).parents[2] / "book"
JUDGED = ("packing", "template")


def judged(recording: str) -> dict[str, Finding]:
    boundaries.load(list(JUDGED))
    with open_target(recording) as target:
        chosen = [c for name in JUDGED for c in applicable(target.pipeline(), name)]
        return {f.invariant: f for f in audit(target, chosen, [])}


def told(page: str) -> dict[str, dict[str, str]]:
    """The table of a page of the book: release -> claim -> status."""
    rows = re.findall(r"^\|(.+)\|$", (BOOK / page).read_text(encoding="utf-8"), re.MULTILINE)
    head, _, *body = ([cell.strip(" `") for cell in row.split("|")] for row in rows)
    return {name: {row[0]: row[i] for row in body} for i, name in enumerate(head) if i}


@pytest.mark.parametrize(
    ("pipeline", "page"), [("ms-swift", "ms_swift.md"), ("trl", "trl.md"), ("llamafactory", "llama_factory.md")]
)
def test_the_page_of_a_pipeline_says_what_its_recordings_are_judged_to_be(pipeline: str, page: str) -> None:
    for release, statuses in told(page).items():
        findings = judged(f"{pipeline}-{release}")
        assert {name: f.status for name, f in findings.items()} == statuses
        assert all(f.checked for f in findings.values() if f.status != "unbound"), release


@pytest.mark.parametrize("release", ["3.10.3", "4.6.0"])
def test_packs_that_no_rank_gets_are_the_only_violation_of_ms_swift(release: str) -> None:
    findings = judged(f"ms-swift-{release}")
    (found,) = (f for f in findings.values() if f.status == "violated")
    assert found.severity == "P2"
    smallest = min((v for v in found.violations if "each pack once" in v.message), key=lambda v: v.size())
    assert smallest.counterexample["world_size"] > 1 and not smallest.counterexample["dataloader_drop_last"]
    assert smallest.where is not None and smallest.where.symbol.endswith("BatchSamplerShard.__init__")


@pytest.mark.parametrize("release", ["0.24.0", "1.16.0"])
def test_micro_steps_that_weigh_alike_are_what_is_violated_in_trl(release: str) -> None:
    findings = judged(f"trl-{release}")
    (step,) = findings["packing.loss_equivalent"].violations
    assert "a step under gradient accumulation" in step.message and step.expected != step.actual
    assert step.where is not None and step.where.symbol.endswith("SFTTrainer.compute_loss")
    cut = findings["template.no_truncation"]
    assert (cut.severity, cut.authority) == ("P2", "practice")


def test_a_neat_pack_of_text_alone_has_a_mask_for_more_tokens_than_llama_factory_gives_the_model() -> None:
    findings = judged("llamafactory-0.9.5")
    (mask,) = findings["packing.fields_aligned"].violations
    assert mask.subject == "text only" and mask.actual[-1] > mask.expected
    assert mask.where is not None and mask.where.symbol.endswith("SFTDataCollatorWith4DAttentionMask.__call__")
    assert findings["packing.vision_in_order"].status == "held"  # the picture that its collator appends is no sample's


@pytest.mark.parametrize(
    ("settings", "family"),
    [
        ({}, "qwen3_vl"),
        ({"model_type": "qwen2_5_vl"}, "qwen2_5_vl"),
        ({"model": "Qwen/Qwen2.5-VL-7B-Instruct"}, "qwen2_5_vl"),
        ({"model": "Qwen/Qwen3-VL-4B-Instruct", "model_type": None}, "qwen3_vl"),
    ],
)
def test_the_model_that_a_config_of_ms_swift_names_is_the_one_that_is_asked(
    settings: dict[str, Any], family: str
) -> None:
    assert family_of(settings) == family


def test_a_model_that_cannot_be_asked_with_is_said() -> None:
    with pytest.raises(ValueError, match="type llama4 can't be asked with: one of qwen3_vl, qwen2_5_vl can"):
        family_of({"model_type": "llama4"})


def configured(**settings: object) -> Any:
    world = World.__new__(World)
    world.settings, world.configured = settings, True
    return SimpleNamespace(parts=world)


def test_whole_chats_that_a_config_of_trl_supervises_are_not_judged_by_their_labels() -> None:
    for settings in ({}, {"assistant_only_loss": False}):
        with pytest.raises(NotSupported, match="whole chats are supervised"):
            trl.supervising(configured(**settings))
    trl.supervising(configured(completion_only_loss=True))


def test_a_config_of_trl_that_does_not_accumulate_has_no_step_of_several_packs() -> None:
    for settings in ({}, {"gradient_accumulation_steps": 1}):
        with pytest.raises(NotSupported, match="a step is one micro-step"):
            trl.step(Asked(channel="A"), configured(**settings))


def test_packs_of_llama_factory_are_judged_where_they_are_to_keep_samples_apart() -> None:
    def here(**said: bool) -> Any:
        return SimpleNamespace(parts=SimpleNamespace(**said))

    with pytest.raises(NotSupported, match="nothing is packed"):
        llamafactory.packing(here(packs=False, neat=False), neat=False)
    with pytest.raises(NotSupported, match="see each other, as documented"):
        llamafactory.packing(here(packs=True, neat=False))
    llamafactory.packing(here(packs=True, neat=False), neat=False)
    llamafactory.packing(here(packs=True, neat=True))


def test_another_stage_of_llama_factory_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "dpo.yaml"
    path.write_text("stage: dpo\n")
    with pytest.raises(ValueError, match="stage dpo can't be asked with: sft can"):
        options_of(str(path))


@pytest.mark.parametrize(
    ("name", "text"),
    [("train.yaml", "packing: true\nmax_length: 4096\n"), ("args.json", '{"packing": true, "max_length": 4096}')],
)
def test_the_options_of_a_run_are_read_from_either_file(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert settings_of(str(path)) == {"packing": True, "max_length": 4096}


def test_a_file_that_holds_no_options_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text("- packing\n")
    with pytest.raises(ValueError, match=r"train\.yaml holds no options"):
        settings_of(str(path))
