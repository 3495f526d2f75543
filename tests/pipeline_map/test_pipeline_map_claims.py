"""Every claim holds on the reference, every fault is caught, and the map leaves no key of a config out."""

import pytest
from msgspec.structs import replace

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.pipeline_map.cases import keys_request, the_map
from coordexp_audit_lib.boundaries.pipeline_map.surfaces.code import CODE
from coordexp_audit_lib.boundaries.pipeline_map.surfaces.entrypoints import ENTRYPOINTS
from coordexp_audit_lib.boundaries.pipeline_map.surfaces.key_reads import KEY_READS
from coordexp_audit_lib.boundaries.pipeline_map.surfaces.keys import KEYS, KeysRequest
from coordexp_audit_lib.boundaries.pipeline_map.surfaces.owners import OWNERS, Owners
from coordexp_audit_lib.core.claim import Context, claims
from coordexp_audit_lib.core.fault import Fault, faults
from coordexp_audit_lib.core.judge import audit
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.targets.reference import ReferenceTarget

boundaries.load(["pipeline_map"])
MAP = the_map(pipeline().contract())
CONFIGS = [e.config for e in MAP.entrypoints]
FAULTS = faults("pipeline_map")
ASKS = {
    "pipeline_map.entrypoints_exist": [ENTRYPOINTS.name],
    "pipeline_map.owners_resolve": [OWNERS.name],
    "pipeline_map.keys_are_read": [KEY_READS.name],
    "pipeline_map.keys_exist": [KEYS.name],
    "pipeline_map.names_defined": [CODE.name],
    "pipeline_map.packages_known": [CODE.name],
    "pipeline_map.calls_fit": [CODE.name],
}


def unassigned(target, config):
    """Leaves of a materialised config that no stage of the map lists."""
    leaves = Context(target, config).value(KEYS, KeysRequest(target.config_path(config))).keys
    assert len(leaves) > 100
    entrypoint = MAP.entrypoint_of(config).id
    listed = [key for s in MAP.stages_of(entrypoint) for key in MAP.keys_of(s.id, entrypoint)]
    return [v.path for v in leaves if v.path not in MAP.not_keys and not any(k.covers(v.path) for k in listed)]


def test_every_claim_holds_on_the_reference():
    found = audit(ReferenceTarget(), claims("pipeline_map"), CONFIGS)
    assert [(f.invariant, f.status, f.note) for f in found if f.status != "held"] == []
    assert {f.invariant for f in found} == set(ASKS)
    assert min(f.checked for f in found) >= 5
    assert all(f.evidence for f in found)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.id)
def test_every_fault_is_caught(fault):
    found = audit(ReferenceTarget(fault), claims("pipeline_map"), CONFIGS)
    violated = {f.invariant for f in found if f.status == "violated"}
    assert violated == set(fault.caught_by)


@pytest.mark.parametrize("config", CONFIGS)
def test_the_map_lists_every_key_of_the_reference_config(config):
    assert unassigned(ReferenceTarget(), config) == []


@pytest.mark.parametrize(
    ("question", "field"),
    [(ENTRYPOINTS, "entrypoints"), (OWNERS, "owners"), (KEY_READS, "stages"), (KEYS, "keys")],
    ids=lambda x: getattr(x, "name", x),
)
def test_an_answer_without_content_holds_nothing(question, field):
    emptied = Fault("x", question, (), "", lambda request, honest: replace(honest(request), **{field: []}))
    asked = [c for c in claims("pipeline_map") if question.name in (c.id, *ASKS[c.id])]
    assert {f.status for f in audit(ReferenceTarget(emptied), asked, CONFIGS[1:])} == {"violated"}


def test_an_owner_of_which_nothing_is_said_is_left_out():
    fewer = Fault("x", OWNERS, (), "", lambda request, honest: Owners(honest(request).owners[:-1]))
    found = audit(ReferenceTarget(fewer), [c for c in claims("pipeline_map") if "owners" in c.id], CONFIGS[:1])
    assert [f.status for f in found] == ["unbound"] and "1 owners of stage2/rollout" in found[0].note


def test_two_runs_say_the_same():
    first, second = (audit(ReferenceTarget(), claims("pipeline_map"), CONFIGS) for _ in range(2))
    told = ([(f.invariant, f.violations, f.evidence) for f in found] for found in (first, second))
    assert next(told) == next(told)


def test_another_config_may_leave_upstream_keys_out():
    found = audit(ReferenceTarget(), claims("pipeline_map"), ["configs/stage2_ab/smoke/ab_mixed.yaml"])
    assert [(f.invariant, f.status) for f in found if f.status != "held"] == []


def test_each_value_names_its_source():
    ask = Context(ReferenceTarget(), CONFIGS[1])
    told = ask.value(KEYS, keys_request(ask))
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
    assert MAP.entrypoint_of(config).id == expected


@pytest.mark.checkout
def test_checkout_answers_every_question(checkout):
    found = {(f.invariant, f.config): f for f in audit(checkout, claims("pipeline_map"), CONFIGS)}
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
    found = {f.invariant: f for f in audit(checkout, claims("pipeline_map"), CONFIGS)}
    assert found["pipeline_map.entrypoints_exist"].status == "held"
    unread = [(v.subject, v.counterexample) for v in found["pipeline_map.keys_are_read"].violations]
    assert unread == [("stage2/trainer", "custom.coord_soft_ce_w1.ce_weight")]
    where = found["pipeline_map.keys_are_read"].violations[0].where
    assert where is not None and where.path == "src/config/schema.py"


def test_stages_are_the_requirements():
    stages = "launch data template packing trainer metrics artifacts rollout"
    assert " ".join(s.id for s in MAP.stages_of("stage2")) == stages
    assert "rollout" not in [s.id for s in MAP.stages_of("stage1")]
