"""Nothing that was not judged is held: every claim, asked of a target or an artifact that lacks what it is about."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import Claim, claims
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.surface import Surface
from coordexp_audit_lib.core.target import Binding
from coordexp_audit_lib.targets.reference import Memory, ReferenceTarget

boundaries.load()
CONFIG = pipeline().configs[1]
Change = Callable[[str, dict[str, Any]], dict[str, Any]]
each_claim = pytest.mark.parametrize("claim", claims(), ids=lambda c: c.id)


class Lacking(ReferenceTarget):
    """The reference without some surfaces, or with every answer passed through `change`."""

    memory: ClassVar[Memory] = {}

    def __init__(self, without: frozenset[str] = frozenset(), change: Change | None = None) -> None:
        super().__init__(memory=self.memory)
        self.without, self.change, self.changed = without, change, False

    def bindings(self) -> dict[str, Binding]:
        known = super().bindings()
        gone = {n: Binding(n, "missing", note="taken away by the test") for n in self.without if n in known}
        return {**known, **gone}

    def raw(self, question: Surface[Any, Any], request: dict[str, Any]) -> dict[str, Any]:
        if question.name in self.without:
            raise SurfaceUnbound("taken away by the test", where=question.name)
        honest = super().raw(question, request)
        if self.change is None or "value" not in honest:
            return honest
        made = {"value": self.change(question.name, copy.deepcopy(honest["value"]))}
        self.changed = self.changed or made != honest
        return made


@pytest.fixture(autouse=True)
def _shared(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lacking, "memory", memory)


def asked(claim: Claim) -> list[str]:
    """The surfaces that a claim asks, in order of their names."""
    return sorted({e.surface for e in on(claim, Lacking()).evidence if e.kind == "call"})


def on(claim: Claim, target: ReferenceTarget) -> Finding:
    return judge(target, claim, CONFIG)


def hollow(surface: str, value: dict[str, Any]) -> dict[str, Any]:
    """An answer of the right type that holds nothing."""
    return {k: type(v)() if isinstance(v, (list, dict)) else v for k, v in value.items()}


@each_claim
def test_held_on_the_reference_with_something_judged(claim: Claim) -> None:
    finding = on(claim, Lacking())
    assert finding.status == "held", (finding.note, finding.violations)
    assert finding.checked > 0


@each_claim
def test_not_held_without_a_surface_that_it_asks(claim: Claim) -> None:
    names = asked(claim)
    assert names, "it asks nothing of a target"
    held = [n for n in [names, *([n] for n in names)] if on(claim, Lacking(frozenset(n))).status == "held"]
    assert held == [], "held although these are not there"


@each_claim
def test_not_held_where_every_answer_is_empty(claim: Claim) -> None:
    target = Lacking(change=hollow)
    finding = on(claim, target)
    assert not (target.changed and finding.status == "held"), f"{finding.checked} judged"


@each_claim
def test_not_held_where_an_answer_lacks_a_field(claim: Claim) -> None:
    """A field that the surface's type demands; an answer without it is none."""
    for name, field in needed_fields(claim):
        target = Lacking(change=lambda s, v, n=name, f=field: {k: x for k, x in v.items() if (s, k) != (n, f)})
        finding = on(claim, target)
        assert not (target.changed and finding.status == "held"), f"held although {name} answers without {field}"


def needed_fields(claim: Claim) -> Iterator[tuple[str, str]]:
    from coordexp_audit_lib.core.surface import surfaces

    for name in asked(claim):
        response = surfaces()[name].response
        optional = len(response.__struct_defaults__)
        yield from ((name, f) for f in response.__struct_fields__[: len(response.__struct_fields__) - optional])
