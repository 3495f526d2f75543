"""On a real checkout: the reference renders records as the project's dataset and ms-swift do, token for token."""

from __future__ import annotations

import pytest

from coordexp_audit_lib.boundaries.template import cases, reference, surfaces
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.target import Target
from coordexp_audit_lib.kit.prompt_trace import Trace, first_difference
from tests.conftest import only_at_reference

pytestmark = pytest.mark.checkout
PROMISED = pipeline().contract()
STAGE1 = "configs/stage1/ablation/geometry_first_coco80.yaml"
STAGE2 = "configs/stage2_ab/prod/ab_mixed.yaml"


@pytest.mark.parametrize("number", range(3))
def test_records_are_rendered_token_for_token(checkout: Target, number: int) -> None:
    name, request = list(cases.encode_requests(PROMISED))[number]
    real, ours = checkout.ask(surfaces.ENCODE, request).value, reference.encode(request)
    assert len(real.unpacked) == len(request.records) >= 3, name
    assert real == ours  # ids, labels, grids, padded rows and the pad


def test_the_expanded_vocabulary_is_the_reference_one(checkout: Target) -> None:
    request = surfaces.VocabularyRequest(PROMISED["template.base_rows"], [t for t, _ in cases.contexts()])
    assert checkout.ask(surfaces.VOCABULARY, request).value.encoded == reference.vocabulary(request).encoded


def test_generation_by_the_learner_itself_starts_from_the_pinned_prompt(checkout: Target) -> None:
    only_at_reference(checkout)
    pinned = PROMISED["template.prompt_pins"]
    for request in cases.prompt_requests(PROMISED):
        asked = surfaces.RolloutRequest("hf", request.ordering, request.field_order, request.variant)
        made = checkout.ask(surfaces.ROLLOUT, asked).value
        assert first_difference(made.generated, Trace(**pinned[cases.setting(request)])) is None
        assert made.answer_at == made.generated.length


@pytest.mark.parametrize(
    ("claim", "config", "status", "count"),
    [
        ("coord_tokens_atomic", STAGE1, "violated", 2),
        ("vocab_fits", STAGE1, "violated", 2),
        ("render_pinned", STAGE1, "held", 0),
        ("prompt_is_prefix", STAGE1, "violated", 7),
        ("labels_cover_assistant", STAGE1, "violated", 2),
        ("image_tokens_match_grid", STAGE1, "held", 0),
        ("no_truncation", STAGE1, "violated", 1),
        ("no_truncation", STAGE2, "held", 0),
        ("state_restored", STAGE1, "held", 0),
    ],
)
def test_what_is_found_at_the_reference_commit(
    checkout: Target, claim: str, config: str, status: str, count: int
) -> None:
    only_at_reference(checkout)
    (check,) = (c for c in claims("template") if c.id == f"template.{claim}")
    finding = judge(checkout, check, config)
    assert (finding.status, finding.violation_count, finding.note) == (status, count, "")
