"""Every claim holds on the reference, every fault is caught, and the map leaves no key of a config out."""

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.pipeline_map import contract, questions
from coordexp_audit_lib.boundaries.pipeline_map.keys import NOT_KEYS, all_keys
from coordexp_audit_lib.boundaries.pipeline_map.stages import ENTRYPOINTS, entrypoint_of, stages_of
from coordexp_audit_lib.core.claim import Context, invariants
from coordexp_audit_lib.core.fault import faults
from coordexp_audit_lib.core.judge import audit
from coordexp_audit_lib.targets.reference import ReferenceTarget

boundaries.load(["pipeline_map"])
CONFIGS = [e.config for e in ENTRYPOINTS]
FAULTS = [f for f in faults() if f.id.startswith("map.")]


def unassigned(target, config):
    """Leaves of a materialised config that no stage of the map lists."""
    leaves = Context(target, config).value(contract.KEYS, contract.KeysRequest(target.config_path(config))).keys
    assert len(leaves) > 100
    listed = [key for keys in all_keys(entrypoint_of(config).id).values() for key in keys]
    return [v.path for v in leaves if v.path not in NOT_KEYS and not any(k.covers(v.path) for k in listed)]


def test_every_claim_holds_on_the_reference():
    found = audit(ReferenceTarget(), invariants("pipeline_map"), CONFIGS)
    assert [(f.invariant, f.status, f.note) for f in found if f.status != "held"] == []
    assert sorted({f.invariant for f in found}) == [
        "pipeline_map.entrypoints_exist",
        "pipeline_map.keys_are_read",
        "pipeline_map.keys_exist",
        "pipeline_map.owners_resolve",
    ]
    assert min(f.checked for f in found) >= 7
    assert all(f.evidence for f in found)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.id)
def test_every_fault_is_caught(fault):
    found = audit(ReferenceTarget(fault), invariants("pipeline_map"), CONFIGS)
    violated = {f.invariant for f in found if f.status == "violated"}
    assert violated == set(fault.caught_by)


def test_every_claim_has_a_known_bad_case():
    assert {i.id for i in invariants("pipeline_map")} == {i for f in FAULTS for i in f.caught_by}


@pytest.mark.parametrize("config", CONFIGS)
def test_the_map_lists_every_key_of_the_reference_config(config):
    assert unassigned(ReferenceTarget(), config) == []


def test_two_runs_say_the_same():
    first, second = (audit(ReferenceTarget(), invariants("pipeline_map"), CONFIGS) for _ in range(2))
    assert [(f.invariant, f.violations, f.evidence) for f in first] == [
        (f.invariant, f.violations, f.evidence) for f in second
    ]


def test_another_config_may_leave_upstream_keys_out():
    found = audit(ReferenceTarget(), invariants("pipeline_map"), ["configs/stage2_ab/smoke/ab_mixed.yaml"])
    assert [(f.invariant, f.status) for f in found if f.status != "held"] == []


def test_each_value_names_its_source():
    ask = Context(ReferenceTarget(), CONFIGS[1])
    told = ask.value(contract.KEYS, questions.keys(ask))
    source = {k.path: k.source for k in told.keys}
    assert told.chain == ["configs/stage2_ab/base.yaml", "configs/stage2_ab/prod/ab_mixed.yaml"]
    assert source["stage2_ab.bbox_ciou_weight"] == "configs/stage2_ab/prod/ab_mixed.yaml"
    assert source["stage2_ab.bbox_smoothl1_weight"] == "configs/stage2_ab/base.yaml"
    assert source["rollout_matching.num_beams"] == "schema default"
    assert source["rollout_matching.vllm.server.servers[].base_url"] == "configs/stage2_ab/base.yaml"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (CONFIGS[0], "stage1"),
        (CONFIGS[1], "stage2"),
        ("configs/stage2_ab/smoke/ab_mixed.yaml", "stage2"),
        ("configs/stage1/smoke/other.yaml", "stage1"),
    ],
)
def test_a_config_belongs_to_an_entrypoint(config, expected):
    assert entrypoint_of(config).id == expected


@pytest.mark.checkout
def test_checkout_answers_every_question(checkout):
    found = {(f.invariant, f.config): f for f in audit(checkout, invariants("pipeline_map"), CONFIGS)}
    assert [k for k, f in found.items() if f.status not in ("held", "violated")] == []
    assert found["pipeline_map.owners_resolve", None].status == "held"


@pytest.mark.checkout
@pytest.mark.parametrize("config", CONFIGS)
def test_the_map_lists_every_key_of_the_reference_commit(checkout, config):
    if checkout.info().commit.startswith("b46e74f"):
        assert unassigned(checkout, config) == []


@pytest.mark.checkout
def test_the_reference_commit_reads_all_but_one_key(checkout):
    """Confirmed by hand: the schema parses the weight of the hard coordinate term, and no Stage-2 code reads it."""
    if not checkout.info().commit.startswith("b46e74f"):
        return
    found = {f.invariant: f for f in audit(checkout, invariants("pipeline_map"), CONFIGS)}
    assert found["pipeline_map.entrypoints_exist"].status == "held"
    unread = [(v.subject, v.counterexample) for v in found["pipeline_map.keys_are_read"].violations]
    assert unread == [("stage2/trainer", "custom.coord_soft_ce_w1.ce_weight")]
    where = found["pipeline_map.keys_are_read"].violations[0].where
    assert where is not None and where.path == "src/config/schema.py"


def test_stages_are_the_requirements():
    assert [s.id for s in stages_of("stage2")] == [
        "launch",
        "data",
        "template",
        "packing",
        "trainer",
        "metrics",
        "artifacts",
        "rollout",
    ]
    assert "rollout" not in [s.id for s in stages_of("stage1")]
