"""What a reader is told first: what matters, once, and what counts at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from coordexp_audit_lib.cli.reporting import exit_status
from coordexp_audit_lib.core import claim as registry
from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.claim import Claim, Context
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Authority, Finding, Reach, Reached, Severity, Violation
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.core.ranking import counted, ranked
from coordexp_audit_lib.core.target import Binding, Target, TargetInfo

CITED = (Citation("somebody/below", "README.md", "what is demanded", "v1"),)


class Silent(Target):
    """Answers nothing; says of each place whether it is reached."""

    def __init__(self, reach: Reach = "this config", held: bool | None = None) -> None:
        self.near, self.held = reach, held

    def info(self) -> TargetInfo:
        return TargetInfo(kind="test", name="silent", commit="abcdef")

    def bindings(self) -> dict[str, Binding]:
        return {}

    def raw(self, question: Any, request: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError

    def config_path(self, config: str) -> str:
        return config

    def citations(self) -> dict[str, tuple[Citation, ...]]:
        return {"test.cited": (Citation("somebody/itself", "spec.md", "a demand", "abc"),)}

    def reach(self, config: str, claim: str, where: Where | None, subject: str) -> Reached:
        return Reached(self.near, "as the test says")

    def holds(self, citation: Citation) -> bool | None:
        return self.held


def judged(
    *violations: Violation,
    name: str = "plain",
    severity: Severity = "P0",
    spec: tuple[Citation, ...] = (),
    target: Target | None = None,
    config: str = "",
) -> Finding:
    def check(ctx: Context) -> Iterator[Violation]:
        ctx.judged()
        yield from violations

    claim = Claim(
        f"test.{name}", "Demand.", check, severity=severity, kind="B", remedy="", spec=spec, per_config=bool(config)
    )
    return judge(target or Silent(), claim, config)


@pytest.mark.parametrize(
    ("name", "spec", "held", "authority", "severity"),
    [
        ("cited", (), True, "spec", "P0"),
        ("cited", CITED, None, "spec", "P0"),
        ("plain", CITED, None, "upstream", "P0"),
        ("plain", (), None, "practice", "P2"),
        ("cited", (), False, "practice", "P2"),  # what is cited is not there
    ],
)
def test_whose_demand_it_is_bounds_the_severity(
    name: str, spec: tuple[Citation, ...], held: bool | None, authority: Authority, severity: Severity
) -> None:
    found = judged(Violation("bad"), name=name, spec=spec, target=Silent(held=held))
    assert (found.authority, found.severity) == (authority, severity)
    assert ("does not hold what it cites" in found.note) is (held is False)


def test_severity_and_authority_belong_to_the_violation() -> None:
    found = judged(
        Violation("a poor message", severity="P2"),
        Violation("another objective"),
        Violation("what we would not do", authority="practice"),
        spec=CITED,
    )
    assert [(v.message, v.severity, v.authority) for v in found.violations] == [
        ("another objective", "P0", "upstream"),
        ("a poor message", "P2", "upstream"),
        ("what we would not do", "P2", "practice"),
    ]
    assert (found.severity, found.authority) == ("P0", "upstream")


def test_one_of_each_kind_is_shown_before_a_second_of_any() -> None:
    many = [Violation(f"key 'k{n}' passes", subject=f"k{n}") for n in range(40)]
    found = judged(*many, Violation("a rare thing of its own " * 9), spec=CITED)
    assert {v.kind for v in found.violations[:2]} == {"key … passes", "a rare thing of its own " * 9}
    assert sorted((k.count, len(k.subjects)) for k in found.kinds) == [(1, 0), (40, 5)]
    assert found.violation_count == 41


@pytest.mark.parametrize(
    "alike",
    [
        [("An unknown key at data.k: no cure.", "data.k"), ("An unknown key at custom.ops[0].k: no cure.", "custom")],
        [("strict mode accepts: trailing comma", "trailing comma (8 texts)"), ("strict mode accepts: junk", "junk")],
        [
            ("the key of the plan is the same with another tokenizer", "plan: tokenizer"),
            ("the key of the plan is the same with another chat template", "plan: chat template"),
        ],
        [("json.loads in load_text is given junk", "a.py:10"), ("json.loads in parse_it is given junk", "a.py:20")],
        [("it lacks first.yaml, second.yaml.", "x"), ("it lacks third.yaml", "y")],
    ],
)
def test_what_differs_in_a_name_only_is_one_kind_with_its_subjects_counted(alike: list[tuple[str, str]]) -> None:
    found = judged(*(Violation(message, subject) for message, subject in alike), spec=CITED)
    assert [(k.count, len(k.subjects)) for k in found.kinds] == [(2, 2)]


def test_one_of_each_subject_is_shown_before_a_second_of_any() -> None:
    common = [Violation("it is lost", "common", counterexample=n) for n in range(10)]
    found = judged(*common, Violation("it is lost", "rare", counterexample="much larger " * 9), spec=CITED)
    assert [v.subject for v in found.violations] == ["common", "rare", "common", "common", "common"]


def test_every_place_to_mend_has_an_example() -> None:
    many = [Violation("it passes", f"k{n}", where=Where("a.py", n % 5)) for n in range(20)]
    found = judged(*many, *(Violation(f"a {w} thing") for w in ("poor", "rare", "slow")), spec=CITED)
    assert {v.where.line for v in found.violations if v.where} == {0, 1, 2, 3, 4}
    assert [v.kind for v in found.violations].count("it passes") == 5


def test_what_no_config_leads_to_is_latent_and_fails_nothing() -> None:
    latent = judged(Violation("bad"), spec=CITED, target=Silent("none"))
    live = judged(Violation("bad", reach="this config"), Violation("worse", reach="none"), spec=CITED)
    assert (latent.latent, latent.counts, live.latent, live.counts) == (True, False, False, True)
    assert live.violations[0].message == "bad"
    assert exit_status([latent], "P2") == 0
    assert exit_status([live], "P2") == 1
    total = counted([latent, live])
    assert (total["violated"], total["latent"]) == (1, 1)


def test_the_same_violation_in_two_configs_is_one_finding() -> None:
    one, two = (judged(Violation("bad"), spec=CITED, config=c) for c in ("a.yaml", "b.yaml"))
    held = judged(config="c.yaml", spec=CITED)
    both, rest = ranked([one, held, two])
    assert (both.configs, both.violation_count, rest.configs) == (("a.yaml", "b.yaml"), 1, ("c.yaml",))


def test_two_names_of_one_root_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_CLAIMS", {})
    second = registry.claim(severity="P0", kind="B", remedy="", id="test.second", root="test.first", spec=CITED)
    second(lambda ctx: iter([Violation("bad")]))
    told = ranked([judged(Violation("bad"), name=n, spec=CITED) for n in ("second", "first")])
    assert [(f.invariant, f.also, f.same_as) for f in told] == [
        ("test.first", ("test.second",), ""),
        ("test.second", (), "test.first"),
    ]
    assert (counted(told)["violated"], counted(told)["same"]) == (1, 1)
    (alone,) = ranked([judged(Violation("bad"), name="second", spec=CITED)])
    assert alone.counts


@pytest.mark.parametrize(("line", "folded"), [(10, True), (12, True), (16, False), (0, True)])
def test_two_names_are_one_root_only_where_one_mend_serves_both(
    line: int, folded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_CLAIMS", {})
    declared = registry.claim(severity="P0", kind="B", remedy="", id="test.second", root="test.first", spec=CITED)
    declared(lambda ctx: iter([Violation("bad")]))
    of_root = judged(Violation("bad", where=Where("a.py", 10)), name="first", spec=CITED)
    of_second = judged(Violation("bad", where=Where("a.py", line) if line else None), name="second", spec=CITED)
    assert [bool(f.same_as) for f in ranked([of_root, of_second])] == [False, folded]


@pytest.mark.parametrize(
    ("root", "second", "folded"),
    [
        ({}, {}, True),
        ({}, {"severity": "P1"}, True),
        ({"severity": "P2"}, {}, False),
        ({"target": Silent("none")}, {}, False),
        ({"target": Silent("none")}, {"target": Silent("none")}, True),
        ({}, {"target": Silent("none")}, True),
    ],
)
def test_a_violation_is_never_hidden_behind_a_lighter_or_latent_root(
    root: dict[str, Any], second: dict[str, Any], folded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_CLAIMS", {})
    declared = registry.claim(severity="P0", kind="B", remedy="", id="test.second", root="test.first", spec=CITED)
    declared(lambda ctx: iter([Violation("bad")]))
    of_root = judged(Violation("bad"), name="first", spec=CITED, **root)
    of_second = judged(Violation("bad"), name="second", spec=CITED, **second)
    told = {f.invariant: f for f in ranked([of_second, of_root])}
    assert bool(told["test.second"].same_as) is folded
    assert bool(told["test.first"].also) is folded


def test_findings_are_ranked_by_effect_then_reach_then_authority() -> None:
    told = [
        judged(name="fine", spec=CITED),
        judged(Violation("x"), name="advice"),
        judged(Violation("x"), name="latent", spec=CITED, target=Silent("none")),
        judged(Violation("x", reach="unknown"), name="unknown", spec=CITED),
        judged(Violation("x"), name="mild", severity="P1", spec=CITED),
        judged(Violation("x"), name="worst", spec=CITED),
    ]
    names = [f.invariant.partition(".")[2] for f in ranked(told)]
    assert names == ["worst", "unknown", "mild", "advice", "latent", "fine"]
