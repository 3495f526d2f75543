"""What holds of any pipeline can be decided of one that an adapter describes, if it answers all that is asked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.policies import applicable, policy_of
from coordexp_audit_lib.core.claim import Claim
from coordexp_audit_lib.core.declared import Declaration, Declared
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.core.pipeline import Pipeline, pipeline
from coordexp_audit_lib.core.surface import Surface, surfaces
from coordexp_audit_lib.core.target import Binding
from coordexp_audit_lib.kit.environment import ANSWERS
from coordexp_audit_lib.pipelines.api import OF_A_RUN
from coordexp_audit_lib.targets.adapter import OF_SOURCE
from coordexp_audit_lib.targets.reference import ReferenceTarget

boundaries.load()
SAID = Declaration("full", "A full one", "full.py", "0", distributions=["trl", "torch"], profile="qwen3_vl")
UNIVERSAL = [c for b in boundaries.BOUNDARIES for c in applicable(Declared(SAID), b.name)]
PAGE = Path(__file__).parents[2] / "book" / "what_holds_of_any_pipeline.md"
RUN: dict[str, Any] = {
    **{"steps": 2, "losses": [2.0, 1.5], "state": "a", "trained": {"steps": 2, "training": 3}},
    **{"frozen": {"compared": 2}, "modes": {"evaluations": 1, "steps": 2}, "weights": {"step": 2, "compared": 3}},
    **{"tied": {"declared": True, "before": True, "after": True, "equal": True}, "size": 2, "epochs": [[1, 0]]},
    **{"whole": True, "planned": 2, "workers": [{"states": {"torch": ["a", "b"]}}], "files": ["a"], "leaks": []},
    **{
        "planted": ["HF_TOKEN"],
        "rows": [{"loss": 2.0, "step": n, "time/forward_s": 1.0 + n % 2} for n in range(1, 13)],
    },
}
FIXED: dict[str, Any] = {
    **{name: {field: RUN[field] for field in fields} for name, fields in OF_A_RUN.items()},
    "upstream.environment": {
        "installed": [
            {"name": "trl", "version": "1.0", "requires": ["torch>=2"]},
            {"name": "torch", "version": "2.13.0", "requires": []},
        ]
    },
    "upstream.imports": {"files": 1, "imports": [{"symbol": "torch:nn", "path": "a.py", "line": 1}]},
    "upstream.names": {"seen": ["there"]},
}


class Full(ReferenceTarget):
    """An adapter's pipeline that answers as the reference does, and whose short run is a sound one."""

    def declaration(self) -> Declaration:
        return SAID

    def pipeline(self) -> Pipeline:
        return Declared(SAID)

    def config_path(self, config: str) -> str:
        return config

    def bindings(self) -> dict[str, Binding]:
        known = super().bindings()
        # An adapter asks its log of a short run, and its files of one.
        gone = {n: Binding(n, "unbound", note="not answered") for n in ("metrics.log", "provenance.write")}
        return {**known, **{name: Binding(name, "bound") for name in FIXED}, **gone}

    def raw(self, question: Surface[Any, Any], request: dict[str, Any]) -> dict[str, Any]:
        if question.name in FIXED:
            return {"value": FIXED[question.name]}
        return super().raw(question, request)


def test_at_least_45_claims_hold_of_any_pipeline() -> None:
    assert len(UNIVERSAL) >= 45
    assert {policy_of(c.id) for c in UNIVERSAL} == {""}
    assert not {c.id for c in UNIVERSAL if not c.of_targets} & {c.id for c in applicable(pipeline(), "packing")}


@pytest.mark.model
@pytest.mark.parametrize("claim", UNIVERSAL, ids=lambda c: c.id)
def test_each_of_them_is_decided_where_all_is_answered(claim: Claim) -> None:
    finding = judge(Full(), claim, "")
    assert (finding.status, finding.note) == ("held", ""), finding.violations
    assert finding.checked > 0


def test_what_is_asked_of_a_short_run_and_of_the_environment_are_surfaces() -> None:
    assert {*OF_A_RUN, *ANSWERS, *OF_SOURCE} <= surfaces().keys()


def test_the_page_names_each_of_them_once() -> None:
    named = re.findall(r"^\| `([a-z_]+\.[a-z0-9_]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(c.id for c in UNIVERSAL)
