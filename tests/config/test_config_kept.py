"""Whether what a config states is what is loaded."""

from __future__ import annotations

from typing import Any

import pytest

from coordexp_audit_lib.boundaries.config.predicates.kept import Kept, values_kept
from coordexp_audit_lib.core.claim import Ledger

STATED = {
    "training": {"learning_rate": "1e-5", "save_steps": 200, "bf16": True, "run_name": "7"},
    "stage2_ab": {"schedule": {"b_ratio": 0.85}, "objective": [{"name": "ce", "weight": 1}]},
    "custom": {"ids": {"start": 3}, "prompt": "Locate."},
}
LOADED: dict[str, Any] = {
    "training": {"learning_rate": 1e-5, "save_steps": 200.0, "bf16": True, "run_name": "7", "seed": 42},
    "stage2_ab": {"schedule": {"b_ratio": 0.85}, "objective": [{"name": "ce", "weight": 1.0, "enabled": True}]},
    "custom": {"ids": [3, 4], "prompt": "sha256:0011"},
}


def told(**changed: Any) -> list[str]:
    loaded = {**LOADED, **changed}
    return [p.subject for p in values_kept(Kept(STATED, loaded, "what is loaded"), Ledger())]


def test_another_spelling_another_shape_and_defaults_are_no_change() -> None:
    ledger = Ledger()
    assert list(values_kept(Kept(STATED, LOADED, "what is loaded"), ledger)) == []
    assert ledger.checked == 6


@pytest.mark.parametrize(
    ("section", "key", "value", "subject"),
    [
        ("training", "learning_rate", 2e-5, "training.learning_rate"),
        ("training", "bf16", False, "training.bf16"),
        ("training", "bf16", 1, "training.bf16"),
        ("training", "save_steps", None, "training.save_steps"),
        ("stage2_ab", "schedule", {"b_ratio": 0.8501}, "stage2_ab.schedule.b_ratio"),
        ("stage2_ab", "objective", [{"name": "ce", "weight": 0.5}], "stage2_ab.objective[0].weight"),
    ],
)
def test_a_number_or_switch_that_is_another_is_told(section: str, key: str, value: Any, subject: str) -> None:
    assert told(**{section: {**LOADED[section], key: value}}) == [subject]
