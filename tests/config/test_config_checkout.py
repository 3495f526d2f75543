"""On a real CoordExp tree: everything is answered, nothing is left behind, and the known findings are found."""

from __future__ import annotations

import pytest

from coordexp_audit_lib.boundaries.config.cases.bench import Bench
from coordexp_audit_lib.boundaries.config.surfaces import LOAD, LoadRequest
from coordexp_audit_lib.core.claim import Context, claims
from coordexp_audit_lib.core.judge import audit, judge
from coordexp_audit_lib.core.target import Target
from tests.conftest import only_at_reference

pytestmark = pytest.mark.checkout
STAGE1 = "configs/stage1/ablation/geometry_first_coco80.yaml"
STAGE2 = "configs/stage2_ab/prod/ab_mixed.yaml"


@pytest.mark.parametrize("config", [STAGE2, STAGE1])
def test_no_claim_ends_in_an_error(checkout: Target, config: str) -> None:
    found = audit(checkout, claims("config"), [config])
    assert {f.invariant: f.note for f in found if f.status == "error"} == {}
    assert all(f.checked > 0 for f in found if f.status != "unbound")


def test_a_variation_leaves_no_trace(checkout: Target) -> None:
    bench = Bench(Context(checkout, STAGE2))
    before = bench.loaded.digest
    assert bench.load_with({"stage2_ab.schedule.b_ratio": 0.5}).value.digest != before
    assert bench.load({}).value.digest == before


def test_prompts_come_back_as_digests(checkout: Target) -> None:
    config = checkout.ask(LOAD, LoadRequest(checkout.config_path(STAGE2))).value.config
    assert config["prompts"]["system"].startswith("sha256:")
    assert config["custom"]["user_prompt"].startswith("sha256:")


def test_the_known_verdicts_at_the_reference_commit(checkout: Target) -> None:
    only_at_reference(checkout)
    status = {i.id: judge(checkout, i, STAGE2).status for i in claims("config")}
    held = ["removed_key_rejected", "required_key", "coord_mode_mandatory", "profile_explicit"]
    held += ["parents_exist", "keys_once", "values_kept"]
    assert {claim for claim, s in status.items() if s == "held"} == {f"config.{name}" for name in held}
    assert {claim for claim, s in status.items() if s == "unbound"} == set()
