"""Which of a check's questions a violation is about, and which are taken to have passed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from coordexp_audit_lib.core.claim import Claim, Context
from coordexp_audit_lib.core.clue import Clue, clue_of
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Place, Violation
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.core.localise import AGREED
from coordexp_audit_lib.core.surface import Surface
from coordexp_audit_lib.core.target import Binding, Target, TargetInfo

MINE, REFUSED = Where("src/toy.py", 40, "src.toy:inner"), Where("src/toy.py", 9, "src.toy:check")


class Ask(msgspec.Struct, frozen=True):
    text: str
    mode: str = "salvage"


class Said(msgspec.Struct, frozen=True):
    said: str


READ: Surface[Ask, Said] = Surface("test.read", Ask, Said, "")


class Reader(Target):
    """Refuses texts that begin with `bad`, and keeps what it is asked to localise."""

    def __init__(self, places: Sequence[Place] = ()) -> None:
        self.places = list(places)
        self.sought: list[tuple[list[str], list[str], Clue]] = []

    def info(self) -> TargetInfo:
        return TargetInfo(kind="test", name="reader")

    def bindings(self) -> dict[str, Binding]:
        return {READ.name: Binding(READ.name, "bound", "src/toy.py", 3, "src.toy:read")}

    def raw(self, question: Surface[Any, Any], request: dict[str, Any]) -> dict[str, Any]:
        if request["text"].startswith("bad"):
            where = msgspec.to_builtins(REFUSED)
            return {"refusal": {"type": "ValueError", "message": f"no: {request['text']}", "where": where}}
        return {"value": {"said": request["text"]}}

    def config_path(self, config: str) -> str:
        return config

    def localise(
        self,
        question: Surface[Any, Any],
        failing: Sequence[dict[str, Any]],
        passing: Sequence[dict[str, Any]],
        clue: Clue,
    ) -> list[Place]:
        self.sought.append(([r["text"] for r in failing], [r["text"] for r in passing], clue))
        return self.places


def judged(target: Target, check: Any) -> list[Violation]:
    made = judge(target, Claim("test.reads", "reads\n\nWhy.", check, severity="P1", kind="B", remedy="read"), "")
    assert made.status == "violated", made.note
    return made.violations


def test_the_question_before_a_violation_failed_and_those_before_none_passed() -> None:
    def check(ctx: Context) -> Iterator[Violation]:
        for text in ("one", "two", "three"):
            ctx.judged()
            if ctx.value(READ, Ask(text)).said == "two":
                yield Violation("it is two")

    reader = Reader([Place(MINE, "lines")])
    (violation,) = judged(reader, check)
    assert [s[:2] for s in reader.sought] == [(["two"], ["one", "three"])]
    assert (violation.where, violation.found) == (MINE, "lines")
    assert [p.found for p in violation.others] == ["call"]


def test_when_all_of_a_kind_lead_to_one_place_the_hundredth_does_too_without_a_look() -> None:
    def check(ctx: Context) -> Iterator[Violation]:
        for n in range(100):
            ctx.judged()
            text = ctx.value(READ, Ask(f"text {chr(0x4E00 + n)}")).said
            yield Violation("it is lost", text, counterexample=f"{n:03}")

    reader = Reader([Place(MINE, "symbol")])
    assert {(v.where, v.found) for v in judged(reader, check)} == {(MINE, "symbol")}
    assert len(reader.sought) == AGREED


def test_a_check_that_tells_at_its_end_is_matched_by_what_the_violation_shows() -> None:
    def check(ctx: Context) -> Iterator[Violation]:
        for n in range(60):
            ctx.judged()
            ctx.ask(READ, Ask(f"text number {n}"))
        for n in (7, 30):
            yield Violation(f"kind {'ab'[n > 7]}", counterexample={"text": f"text number {n}"})

    reader = Reader()
    judged(reader, check)
    assert [s[0] for s in reader.sought] == [["text number 7"], ["text number 30"]]
    assert all(len(passed) == 6 for _, passed, _ in reader.sought)


def test_what_should_have_been_refused_is_a_question_that_was_not() -> None:
    def check(ctx: Context) -> Iterator[Violation]:
        answers = [ctx.ask(READ, Ask(text)) for text in ("fine", "bad one")]
        ctx.judged(len(answers))
        yield Violation("it is accepted", "x", "refused", "accepted")

    reader = Reader()
    (violation,) = judged(reader, check)
    assert reader.sought[0][0] == ["fine"]
    assert (violation.where, violation.found) == (REFUSED, "refusal")  # where its like is refused


def test_a_refusal_says_where() -> None:
    def check(ctx: Context) -> Iterator[Violation]:
        ctx.judged()
        answer = ctx.ask(READ, Ask("bad one"))
        yield Violation("the error does not help", actual=answer.refusal and answer.refusal.message)

    (violation,) = judged(Reader([Place(MINE, "data flow")]), check)
    assert (violation.where, violation.found) == (REFUSED, "refusal")
    assert [p.found for p in violation.others] == ["data flow", "call"]


def test_violations_that_differ_in_numbers_only_are_localised_once() -> None:
    def check(ctx: Context) -> Iterator[Violation]:
        for n in range(9):
            ctx.judged()
            ctx.ask(READ, Ask(str(n)))
            yield Violation(f"step {n} is wrong", f"ops[{n}]")

    reader = Reader([Place(MINE, "lines")])
    assert {v.where for v in judged(reader, check)} == {MINE}
    assert len(reader.sought) == 1


def test_a_place_that_cannot_be_looked_for_costs_no_verdict() -> None:
    class Lost(Reader):
        def localise(self, *_: Any) -> list[Place]:
            raise KeyError("nothing is known")

    def check(ctx: Context) -> Iterator[Violation]:
        for text in ("one", "two"):
            ctx.judged()
            ctx.ask(READ, Ask(text))
        yield Violation("wrong", counterexample={"asked": Ask("two")})

    made = judge(Lost(), Claim("test.reads", "reads\n\nWhy.", check, severity="P1", kind="B", remedy="read"), "")
    assert (made.status, made.violations[0].found) == ("violated", "call")


@pytest.mark.parametrize(
    ("violation", "keys"),
    [
        (Violation("An unknown key.", "custom.tokens.stray"), ("custom.tokens.stray",)),
        (
            Violation("a value is accepted", "NaN", counterexample={"loss.weight": 1.0, "world_size": 2}),
            ("loss.weight",),
        ),
        (Violation("step 1 logs no rollout/f1", "rollout/f1"), ("rollout/f1",)),
        (Violation("the ranks differ", actual=[[], ["loss/ce"]]), ("loss/ce",)),
        (Violation("src/a.py is read", "configs/leaf.yaml"), ()),
    ],
)
def test_the_keys_that_a_violation_names(violation: Violation, keys: tuple[str, ...]) -> None:
    assert clue_of("test.reads", "", violation).keys == keys
