"""What a check's outcome becomes: held, violated, unbound or error, with its denominator and its examples."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from coordexp_audit_lib.core.claim import Context, Invariant
from coordexp_audit_lib.core.errors import AuditError, SurfaceFailed, SurfaceUnbound, one_line
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import MAX_TEXT, Violation, tidy
from coordexp_audit_lib.core.judge import audit, judge
from coordexp_audit_lib.core.surface import Refuse, Surface
from coordexp_audit_lib.core.target import Binding, Target, TargetInfo


class Number(msgspec.Struct):
    n: int


DOUBLE: Surface[Number, Number] = Surface("test.double", Number, Number, "twice the number")


class Doubler(Target):
    """Answers `test.double` with whatever a test puts into `answer`."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer

    def info(self) -> TargetInfo:
        return TargetInfo(kind="test", name="doubler")

    def bindings(self) -> dict[str, Binding]:
        return {DOUBLE.name: Binding(DOUBLE.name, "bound", "src/double.py", 7, "src.double:double", "abc")}

    def raw(self, question: Surface[Any, Any], request: dict[str, Any]) -> dict[str, Any]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer if self.answer is not None else {"value": {"n": 2 * request["n"]}}

    def config_path(self, config: str) -> str:
        return config


def invariant_of(check: Any, per_config: bool = False) -> Invariant:
    return Invariant("test.doubles", "test", "P0", "B", "twice", "double it", "spec", per_config, check)


def doubles(ctx: Context) -> Iterator[Violation]:
    for n in (3, 1, 2, 7, 6, 5, 4):
        ctx.judged()
        got = ctx.value(DOUBLE, Number(n)).n
        if got != 2 * n:
            yield Violation(f"{n} became {got}", expected=2 * n, actual=got, counterexample=[n] * n)


def judges_nothing(ctx: Context) -> Iterator[Violation]:
    yield from ()


def crashes(ctx: Context) -> Iterator[Violation]:
    ctx.judged()
    yield from ()
    raise KeyError("oops")


def breaks_then_crashes(ctx: Context) -> Iterator[Violation]:
    ctx.judged()
    yield Violation("it is broken")
    raise KeyError("oops")


@pytest.mark.parametrize(
    ("answer", "check", "status", "note"),
    [
        (None, doubles, "held", ""),
        ({"value": {"n": 0}}, doubles, "violated", ""),
        (SurfaceUnbound("no such thing", where="test.double"), doubles, "unbound", "no such thing"),
        (SurfaceFailed("it hung", where="test.double"), doubles, "error", "it hung"),
        ({"refusal": {"type": "ValueError", "message": "no"}}, doubles, "error", "ValueError: no"),
        ({"value": {"n": "2"}}, doubles, "error", "does not fit"),
        ({"value": {"n": 1e400}}, doubles, "error", "does not fit"),
        ({}, doubles, "error", "does not fit"),
        ([], doubles, "error", "does not fit"),
        (None, judges_nothing, "error", "no case was judged"),
        (None, crashes, "error", "KeyError"),
        (None, breaks_then_crashes, "violated", "KeyError"),
    ],
)
def test_status(answer: Any, check: Any, status: str, note: str) -> None:
    finding = judge(Doubler(answer), invariant_of(check), "c.yaml")
    assert (finding.status, note in finding.note) == (status, True), finding.note


def test_a_violated_finding_counts_exactly_and_shows_five_smallest_first() -> None:
    finding = judge(Doubler({"value": {"n": 0}}), invariant_of(doubles), "c.yaml")
    assert finding.violation_count == 7
    assert [v.message for v in finding.violations] == [f"{n} became 0" for n in (1, 2, 3, 4, 5)]
    assert finding.checked == 7
    assert finding.violations[0].where == Where("src/double.py", 7, "src.double:double")


def test_evidence_names_the_function_that_answered_and_how_often() -> None:
    (call,) = judge(Doubler(), invariant_of(doubles), "c.yaml").evidence
    assert (call.surface, call.calls, call.path, call.line, call.digest) == (
        "test.double",
        7,
        "src/double.py",
        7,
        "abc",
    )


def test_only_claims_about_a_config_are_judged_per_config() -> None:
    both = ["a.yaml", "b.yaml"]
    assert [f.config for f in audit(Doubler(), [invariant_of(doubles)], both)] == [None]
    assert [f.config for f in audit(Doubler(), [invariant_of(doubles, per_config=True)], both)] == both


def test_a_check_s_random_cases_depend_on_the_seed_and_the_salt_only() -> None:
    draws = [
        Context(Doubler(), "c", seed, "x").rng(salt).random() for seed, salt in ((0, "a"), (0, "a"), (1, "a"), (0, "b"))
    ]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 3


def test_tidy_makes_any_value_fit_for_strict_json() -> None:
    value = {"b": [math.nan, 1 / 3, "x" * (MAX_TEXT + 5)], "a": "\ud800", 3: (True, None)}
    text = json.dumps(tidy(value), allow_nan=False)
    assert json.loads(text)["b"][:2] == ["nan", 0.333333]
    assert "(+5 characters)" in text
    assert "\\ud800" in json.loads(text)["a"]


def test_an_error_is_one_line_with_place_and_cure() -> None:
    error = AuditError("bad\nthing\x1b[31m.", where="a.b[0]", remedy="mend it")
    assert str(error) == "a.b[0]: bad thing [31m. Remedy: mend it"
    assert "\n" not in one_line("a\u2028b")


def test_a_refusal_of_the_reference_carries_type_and_message() -> None:
    assert Refuse("no", "TypeError").refusal.type == "TypeError"
