"""The boundary's claims hold on the reference, and each is violated by its faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.upstream import surfaces as s
from coordexp_audit_lib.boundaries.upstream.predicates.contracts import Call, Contract, Field, Part
from coordexp_audit_lib.boundaries.upstream.predicates.contracts import read as contracts_of
from coordexp_audit_lib.boundaries.upstream.predicates.verdicts import Difference, Release, Verdict
from coordexp_audit_lib.core.claim import Claim, claims
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.fault import faults
from coordexp_audit_lib.core.judge import Artifact, judge, judge_artifact
from coordexp_audit_lib.core.surface import Surface
from coordexp_audit_lib.targets.reference import Memory, ReferenceTarget

boundaries.load(["upstream"])
MINE = claims("upstream")
FAULTS = faults("upstream")
MEMORY: Memory = {}
CONFIG = "configs/stage2_ab/prod/ab_mixed.yaml"
WANTED = {
    *("trainer_helpers", "request_config", "infer_request", "template_surface"),
    *("qwen3vl_surface", "rollout_cli", "client_surface", "versions_matrix"),
}


def test_the_catalogue_is_complete() -> None:
    assert {i.id for i in MINE} == {f"upstream.{name}" for name in WANTED}
    assert {id for f in FAULTS for id in f.caught_by} == {i.id for i in MINE}


@pytest.mark.parametrize("check", MINE, ids=lambda i: i.id)
def test_holds_on_the_reference(check: Claim) -> None:
    finding = judge(ReferenceTarget(memory=MEMORY), check, CONFIG)
    assert (finding.status, finding.note, [v.message for v in finding.violations]) == ("held", "", [])
    assert finding.checked >= 5


# ---- nothing vacuous is held ------------------------------------------------------------------------------------


class Answering(ReferenceTarget):
    """The reference, but that some surfaces are unbound or answer otherwise."""

    def __init__(self, changes: dict[str, Callable[[dict[str, Any]], dict[str, Any]] | None]) -> None:
        super().__init__(memory=MEMORY)
        self.changes = changes

    def raw(self, question: Surface[Any, Any], request: dict[str, Any]) -> dict[str, Any]:
        if question.name not in self.changes:
            return super().raw(question, request)
        change = self.changes[question.name]
        if change is None:
            raise SurfaceUnbound("not in this tree", where=question.name)
        return {"value": change(super().raw(question, request)["value"])}


VACUOUS: list[tuple[str, Surface[Any, Any], Any]] = [
    ("trainer_helpers", s.TRAINER, None),
    ("trainer_helpers", s.TRAINER, lambda made: {**made, "wiring": None}),
    ("trainer_helpers", s.TRAINER, lambda made: {**made, "names": [], "decay": [], "groups": [], "wiring": []}),
    ("trainer_helpers", s.API, lambda made: {**made, "seen": []}),
    ("request_config", s.CONFIG, None),
    ("request_config", s.CONFIG, lambda made: {key: {} for key in made}),
    ("infer_request", s.INFER, lambda made: {"sent": []}),
    ("template_surface", s.TEMPLATE, lambda made: {**{key: [] for key in made}, "packed": EMPTY, "padded": EMPTY}),
    ("qwen3vl_surface", s.ROWS, None),
    ("qwen3vl_surface", s.ROWS, lambda made: {**made, "rope": []}),
    ("rollout_cli", s.LAUNCHER, None),
    ("rollout_cli", s.LAUNCHER, lambda made: {"flags": []}),
    ("client_surface", s.API, None),
    ("versions_matrix", s.MATRIX, lambda made: {"contracts": [], "versions": {}, "verdicts": []}),
    ("versions_matrix", s.API, None),
]
EMPTY: dict[str, Any] = {"shapes": {}, "dtypes": {}}


@pytest.mark.parametrize(("name", "surface", "change"), VACUOUS)
def test_what_was_not_judged_is_not_held(name: str, surface: Surface[Any, Any], change: Any) -> None:
    (check,) = [c for c in MINE if c.id == f"upstream.{name}"]
    finding = judge(Answering({surface.name: change}), check, CONFIG)
    assert finding.status != "held"
    assert finding.note or finding.violations


def test_a_pipeline_without_contracts_decides_nothing() -> None:
    class Silent(ReferenceTarget):
        def contract(self) -> dict[str, Any]:
            return {}

    found = [judge(Silent(memory=MEMORY), check, CONFIG) for check in MINE]
    assert {f.status for f in found} == {"unbound"}
    assert {f.note for f in found} == {"the pipeline writes down no contract with an upstream package"}


def test_a_package_that_is_not_installed_is_a_part_that_is_left_out() -> None:
    def missing(made: dict[str, Any]) -> dict[str, Any]:
        vllm = [k for k in made["seen"] if k["symbol"].startswith("vllm")]
        return (
            {"version": "", "seen": [{**k, "status": "undecided", "why": "not there"} for k in vllm]} if vllm else made
        )

    (check,) = [c for c in MINE if c.id == "upstream.client_surface"]
    finding = judge(Answering({"upstream.api": missing}), check, CONFIG)
    assert (finding.status, finding.note) == ("unbound", "not judged: 10 of the names used of vllm: not there")
    assert finding.checked == 17


PART = Part("swift.m:X", call=Call(1))
CONTRACT = Contract("x", "ms-swift", "upstream.client_surface", "X, in m", "src/a.py", (PART, Part("swift.m:Y")))


@pytest.mark.parametrize(
    ("contracts", "verdicts", "wanted"),
    [
        ((), [], ("unbound", 0, "nothing that the claim is about was there to judge")),
        ((CONTRACT,), [], ("unbound", 0, "not judged: X, in m: there is no verdict on it")),
        ((CONTRACT,), [Verdict("x", "ms-swift", "1", "kept")], ("held", 2, "")),
        (
            (CONTRACT,),
            [Verdict("x", "ms-swift", "1", "gone", [Difference("gone", "swift.m:X", "why")])],
            ("violated", 2, ""),
        ),
        (
            (CONTRACT,),
            [Verdict("x", "ms-swift", "1", "undecidable", [Difference("undecidable", "swift.m:X", "why")])],
            ("unbound", 1, "not judged: swift.m:X: not decidable from this package alone: why"),
        ),
    ],
)
def test_a_release_is_judged_by_its_parts(
    contracts: tuple[Contract, ...], verdicts: list[Verdict], wanted: tuple[str, int, str]
) -> None:
    (check,) = [c for c in MINE if c.id == "upstream.client_surface"]
    finding = judge_artifact(Artifact(Release("ms-swift", "1", contracts, verdicts), kind="S"), check)
    assert (finding.status, finding.checked, finding.note) == wanted


def test_contracts_are_read_from_text() -> None:
    written = {
        "ms-swift": {
            "x": {
                "claim": "client_surface",
                "title": "t",
                "used": "u",
                "imports": {"a.b:C.f": {"or": "d e:F", "call": "cls(_, _, g=)", "words": "/h/ i"}},
                "uses": {
                    "a": {"or": "b", "expressions": "x[0] == 1; y"},
                    "a:D": {"fields": "m; n: list[str] = list()"},
                },
            }
        }
    }
    (made,) = contracts_of(written)
    assert (made.id, made.distribution, made.claim) == ("x", "ms-swift", "upstream.client_surface")
    assert made.parts == (
        Part("a.b:C.f", ("d:C.f", "e:F"), Call(2, ("g",), of_class=True), words=("/h/", "i")),
        Part("a", ("b",), expressions=("x[0] == 1", "y"), imported=False),
        Part("a:D", fields=(Field("m"), Field("n", "list[str]", "list()")), imported=False),
    )
