"""What a check's outcome becomes: held, violated, unbound or error, with its denominator and its examples."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.claim import Claim, Context, Ledger
from coordexp_audit_lib.core.errors import AuditError, SurfaceFailed, SurfaceUnbound, one_line
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import MAX_TEXT, Violation, tidy
from coordexp_audit_lib.core.judge import Artifact, audit, finding_of, judge, judge_artifact, sheet_for
from coordexp_audit_lib.core.problem import Problem, Undecided
from coordexp_audit_lib.core.sheet import NOTHING
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


def claim_of(check: Any, per_config: bool = False, name: str = "doubles") -> Claim:
    return Claim(
        f"test.{name}", "twice\n\nWhy.", check, severity="P0", kind="B", remedy="double it", per_config=per_config
    )


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


def leaves_a_part_out(ctx: Context) -> Iterator[Violation]:
    ctx.judged()
    for _ in range(2):  # said once, however often
        ctx.left_out("dynamic packing", "not in this tree")
    yield from ()


def breaks_and_leaves_out(ctx: Context) -> Iterator[Problem]:
    yield Problem("it is broken")
    yield from leaves_a_part_out(ctx)  # type: ignore[misc]


def cannot_tell(ctx: Context) -> Iterator[Problem]:
    ctx.judged()
    yield from ()
    raise Undecided("needs labels")


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
        (None, judges_nothing, "unbound", NOTHING),
        (None, crashes, "error", "KeyError"),
        (None, breaks_then_crashes, "violated", "KeyError"),
        (None, leaves_a_part_out, "unbound", "not judged: dynamic packing: not in this tree"),
        (None, breaks_and_leaves_out, "violated", "not judged: dynamic packing: not in this tree"),
        (None, cannot_tell, "unbound", "needs labels"),
    ],
)
def test_status(answer: Any, check: Any, status: str, note: str) -> None:
    finding = judge(Doubler(answer), claim_of(check), "c.yaml")
    assert (finding.status, note in finding.note) == (status, True), finding.note


def test_a_violated_finding_counts_exactly_and_shows_five_smallest_first() -> None:
    finding = judge(Doubler({"value": {"n": 0}}), claim_of(doubles), "c.yaml")
    assert finding.violation_count == 7
    assert [v.message for v in finding.violations] == [f"{n} became 0" for n in (1, 2, 3, 4, 5)]
    assert finding.checked == 7
    assert finding.violations[0].where == Where("src/double.py", 7, "src.double:double")


def test_evidence_names_the_function_that_answered_and_how_often() -> None:
    (call,) = judge(Doubler(), claim_of(doubles), "c.yaml").evidence
    assert (call.surface, call.calls, call.path, call.line, call.digest) == (
        "test.double",
        7,
        "src/double.py",
        7,
        "abc",
    )


def test_only_claims_about_a_config_are_judged_per_config() -> None:
    both = ["a.yaml", "b.yaml"]
    assert [f.config for f in audit(Doubler(), [claim_of(doubles)], both)] == [None]
    assert [f.config for f in audit(Doubler(), [claim_of(doubles, per_config=True)], both)] == both


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


def test_an_error_is_one_line_with_place_and_remedy() -> None:
    error = AuditError("bad\nthing\x1b[31m.", where="a.b[0]", remedy="mend it")
    assert str(error) == "a.b[0]: bad thing [31m. Remedy: mend it"
    assert "\n" not in one_line("a\u2028b")


def test_a_refusal_of_the_reference_carries_type_and_message() -> None:
    assert Refuse("no", "TypeError").refusal.type == "TypeError"


class Row(msgspec.Struct):
    """What a predicate reads of a small artifact."""

    numbers: list[int]


ROW = Row([1, 2, 3])


def each_is_positive(row: Row, ledger: Ledger) -> Iterator[Problem]:
    for i, n in enumerate(row.numbers):
        ledger.judged()
        if n <= 0:
            yield Problem("a number is not positive", f"numbers[{i}]", "above 0", n, token=i)


def breaks_down(row: Row, ledger: Ledger) -> Iterator[Problem]:
    ledger.judged()
    yield from ()
    raise ZeroDivisionError("by zero")


def on_rows(predicate: Any, name: str) -> Claim:
    claim = claim_of(judges_nothing, name=name)
    claim.on(Row, predicate)
    return claim


@pytest.mark.parametrize(
    ("problem", "subject", "case", "expected"),
    [
        (Problem("bad"), "", None, Violation("bad")),
        (Problem("bad", "labels"), "sample 3", None, Violation("bad", "sample 3: labels")),
        (Problem("bad", "labels"), "", None, Violation("bad", "labels")),
        (Problem("bad", token=7), "", None, Violation("bad (token 7)", counterexample={"token": 7})),
        (Problem("bad", "", 1, 2, [3]), "", None, Violation("bad", "", 1, 2, [3])),
        (Problem("bad", counterexample=[3]), "", {"n": 1}, Violation("bad", counterexample={"n": 1, "shown": [3]})),
        (
            Problem("bad", counterexample=[3], token=7),
            "",
            {"n": 1},
            Violation("bad (token 7)", counterexample={"n": 1, "token": 7, "shown": [3]}),
        ),
        (Problem("bad", where=Where("a.py", 3)), "", None, Violation("bad", where=Where("a.py", 3))),
    ],
)
def test_a_problem_becomes_a_violation(problem: Problem, subject: str, case: Any, expected: Violation) -> None:
    assert problem.violation(subject, case) == expected


def test_an_artifact_is_judged_by_the_claim_s_predicate() -> None:
    claim = on_rows(each_is_positive, "positive")
    held = judge_artifact(Artifact(ROW, kind="A", config="c.yaml"), claim)
    assert (held.status, held.checked, held.kind, held.config, held.note) == ("held", 3, "A", "c.yaml", "")
    violated = judge_artifact(Artifact(Row([1, -2])), claim)
    assert (violated.status, violated.violation_count, violated.checked) == ("violated", 1, 2)
    (one,) = violated.violations
    assert (one.message, one.subject) == ("a number is not positive (token 1)", "numbers[1]")
    assert (one.expected, one.actual, one.counterexample) == ("above 0", -2, {"token": 1})
    assert (violated.claim, violated.remedy) == ("twice", "double it")


def test_a_predicate_that_raises_is_one_error_and_the_others_go_on() -> None:
    both = [on_rows(breaks_down, "broken"), on_rows(each_is_positive, "positive")]
    found = [judge_artifact(Artifact(ROW), c) for c in both]
    assert [(f.invariant, f.status) for f in found] == [("test.broken", "error"), ("test.positive", "held")]
    assert "ZeroDivisionError: by zero" in found[0].note


def test_an_artifact_without_what_the_claim_is_about_is_unbound() -> None:
    found = judge_artifact(Artifact(Row([])), on_rows(each_is_positive, "positive"))
    assert (found.status, found.checked, found.note) == ("unbound", 0, NOTHING)


def test_a_subject_that_can_never_decide_a_claim_says_what_it_needs() -> None:
    claim = claim_of(judges_nothing)
    claim.not_on(Row, "needs the tokens' order")
    found = judge_artifact(Artifact(ROW), claim)
    assert (found.status, found.note) == ("unbound", "needs the tokens' order")


def test_secrets_are_concealed_in_every_text_of_a_finding() -> None:
    def leaks(row: Row, ledger: Ledger) -> Iterator[Problem]:
        ledger.judged()
        ledger.left_out("the token s3cret")
        yield Problem("s3cret is there", "s3cret", "s3cret", "s3cret", "s3cret")

    def conceal(value: Any) -> Any:
        return value.replace("s3cret", "***") if isinstance(value, str) else value

    found = judge_artifact(Artifact(ROW, conceal=conceal), on_rows(leaks, "leaks"))
    assert found.status == "violated"
    assert b"s3cret" not in msgspec.json.encode(found)


def test_a_sheet_takes_a_stream_in_pieces_and_survives_one_that_breaks() -> None:
    sheet = sheet_for(on_rows(each_is_positive, "positive"))
    for numbers in ([1, -1], [0], [2]):
        sheet.take(lambda numbers=numbers: each_is_positive(Row(numbers), sheet.ledger))  # type: ignore[misc]
    assert (sheet.verdict(), sheet.count, sheet.ledger.checked) == (("violated", ""), 2, 4)
    found = finding_of(Artifact(ROW), sheet)
    assert [v.actual for v in found.violations] == [-1, 0] or [v.actual for v in found.violations] == [0, -1]
    broken = sheet_for(on_rows(breaks_down, "broken"))
    broken.take(lambda: breaks_down(ROW, broken.ledger))
    broken.take(lambda: each_is_positive(ROW, broken.ledger))
    assert broken.verdict()[0] == "error" and broken.ledger.checked == 4


def test_a_sheet_keeps_the_smallest_few_of_many_violations_and_counts_all() -> None:
    sheet = sheet_for(on_rows(each_is_positive, "positive"))
    sheet.run(lambda: (Problem(f"{n:04d}", counterexample=[0] * (1000 - n)) for n in range(1000)))
    assert sheet.count == 1000
    assert [v.message for v in sheet.examples] == ["0999", "0998", "0997", "0996", "0995"]


def test_a_finding_cites_what_demands_it() -> None:
    cited = Citation("huggingface/transformers", "src/a.py", "f", "v4.57.6")
    claim = Claim("test.cited", "Demand.", doubles, severity="P0", kind="B", remedy="", spec=(cited,))
    assert judge(Doubler(), claim, "").spec == "huggingface/transformers@v4.57.6:src/a.py (f)"
