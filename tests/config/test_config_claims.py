"""Every claim holds on the reference, for both entrypoints, and every fault is noticed by the claims that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.fault import Fault, faults
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.targets.recording import Recorder, RecordingTarget, read_recording, write_recording
from coordexp_audit_lib.targets.reference import Memory, ReferenceTarget

boundaries.load(["config"])
STAGE1 = "configs/stage1/ablation/geometry_first_coco80.yaml"
STAGE2 = "configs/stage2_ab/prod/ab_mixed.yaml"
SMOKE = "configs/stage2_ab/smoke/ab_mixed.yaml"
CLAIMS = {i.id: i for i in claims("config")}
NAMES = "unknown_key_rejected unknown_section_key_rejected removed_key_rejected required_key value_range"
NAMES += " coord_mode_mandatory batch_divisible length_coherent packing_backend deterministic profile_one_hop"
NAMES += " keys_once values_kept shipped_load preflight_carries"
CATALOGUE = [
    f"config.{name}" for name in f"{NAMES} profile_explicit extends_sound preflight_contract parents_exist".split()
]
ELSEWHERE = ("preflight_contract", "preflight_carries", "parents_exist", "keys_once", "shipped_load")
FAULTS = [f for f in faults() if f.id.startswith("config.")]


def facts(finding: Finding) -> dict[str, object]:
    return {e.symbol: e.value for e in finding.evidence if e.kind == "fact"}


def test_the_catalogue_is_complete() -> None:
    assert sorted(CLAIMS) == sorted(CATALOGUE)


@pytest.mark.parametrize("config", [STAGE2, SMOKE, STAGE1])
@pytest.mark.parametrize("claim", CATALOGUE)
def test_the_reference_holds(claim: str, config: str, memory: Memory) -> None:
    finding = judge(ReferenceTarget(memory=memory), CLAIMS[claim], config)
    assert (finding.status, finding.violations, finding.note) == ("held", [], "")
    assert finding.checked > 1


def test_a_lost_range_is_its_own_violation_where_types_are_coerced_already(memory: Memory) -> None:
    """Many keys that take a bool must not hide, or swallow, the one that lost its range."""
    by_id = {f.id: f for f in FAULTS}
    bools, range_lost = by_id["config.bool_coerced"], by_id["config.b_ratio_unbounded"]

    def apply(request: Any, honest: Any) -> Any:
        return bools.apply(request, lambda r: range_lost.apply(r, honest))

    both = Fault("both", bools.surface, (), "", apply)
    claim = CLAIMS["config.value_range"]
    one, two = (judge(ReferenceTarget(f, memory), claim, STAGE2) for f in (bools, both))
    assert two.violation_count == one.violation_count + 1
    assert {v.subject for v in two.violations} - {v.subject for v in one.violations} == {"outside [0, 1]"}


def test_every_mapping_node_of_the_stage2_config_is_tried(memory: Memory) -> None:
    found = facts(judge(ReferenceTarget(memory=memory), CLAIMS["config.unknown_key_rejected"], STAGE2))
    nodes = found["nodes"]
    assert isinstance(nodes, list)
    assert found["mapping nodes tried"] == len(nodes) == 14
    rollout = ("decoding", "vllm.sync", "vllm.server.servers[0]", "vllm.server.debug_dump", "desc_monitor")
    assert {"stage2_ab", "stage2_ab.schedule", "stage2_ab.channel_b"} <= set(nodes)
    assert {f"rollout_matching.{name}" for name in rollout} <= set(nodes)


def test_a_stage1_config_is_tried_in_the_sections_that_it_lacks(memory: Memory) -> None:
    found = facts(judge(ReferenceTarget(memory=memory), CLAIMS["config.unknown_key_rejected"], STAGE1))
    assert {"stage2_ab", "rollout_matching", "rollout_matching.vllm.server.servers[0]"} <= set(found["nodes"])  # type: ignore[call-overload]


def test_nested_items_of_other_sections_are_tried_and_foreign_ones_left_alone(memory: Memory) -> None:
    found = facts(judge(ReferenceTarget(memory=memory), CLAIMS["config.unknown_section_key_rejected"], STAGE1))
    nodes = found["nodes"]
    assert isinstance(nodes, list)
    assert "custom.augmentation.ops[12].params" in nodes
    assert "custom.coord_offset.ids" in nodes
    assert found["mappings left to their owners"] == {
        "custom.extra": "the escape hatch",
        "training.lr_scheduler_kwargs": "handed to transformers' scheduler",
    }


@pytest.mark.parametrize("claim", CATALOGUE)
def test_a_second_run_finds_the_same(claim: str, memory: Memory) -> None:
    first, second = (judge(ReferenceTarget(memory=known), CLAIMS[claim], STAGE1) for known in (memory, None))
    assert (first.checked, first.violations, first.evidence) == (second.checked, second.violations, second.evidence)


def test_a_recording_answers_the_questions_that_were_asked_of_its_target(tmp_path: Path, memory: Memory) -> None:
    live = Recorder(ReferenceTarget(memory=memory))
    asked = {claim: judge(live, CLAIMS[claim], STAGE1) for claim in CATALOGUE}
    write_recording(live.recording("test", "2026-02-23"), tmp_path / "r.json.xz")
    replayed = RecordingTarget(read_recording(tmp_path / "r.json.xz"), "r")
    for claim, finding in asked.items():
        again = judge(replayed, CLAIMS[claim], STAGE1)
        assert (again.status, again.checked, again.note) == (finding.status, finding.checked, ""), claim


def test_a_config_that_does_not_load_is_an_error_and_never_held() -> None:
    refusing = Fault("refuse_all", FAULTS[0].surface, (), "", _refuse_all)
    for claim in CATALOGUE:
        # these ask the launcher's preflight, read the files, or tell of each file what the loader says
        if claim.removeprefix("config.") not in ELSEWHERE:
            assert judge(ReferenceTarget(refusing), CLAIMS[claim], STAGE2).status == "error", claim


def _refuse_all(request: object, honest: object) -> object:
    from coordexp_audit_lib.core.surface import Refuse

    raise Refuse("this tree loads nothing")
