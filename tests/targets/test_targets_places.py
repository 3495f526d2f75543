"""A checkout says where what it got wrong is to be mended: a judge that asks it needs no help from the check."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coordexp_audit_lib.core import surface as registry
from coordexp_audit_lib.core.claim import Claim, Context
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Violation
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.core.surface import Surface
from coordexp_audit_lib.core.target import Target
from coordexp_audit_lib.pipelines.coordexp import eras
from coordexp_audit_lib.sandbox.limits import Limits
from coordexp_audit_lib.targets.checkout import CheckoutTarget
from coordexp_audit_lib.targets.recording import Recorder, RecordingTarget

TREE = """
class Inner:
    @classmethod
    def from_mapping(cls, given):
        made = cls()
        made.size = given.get("size", 0)
        return made

class Outer:
    @classmethod
    def from_mapping(cls, given):
        given = dict(given)
        inner = Inner.from_mapping(given.pop("inner", {}))
        if given:
            raise ValueError("unknown keys: %s" % sorted(given))
        return inner

def total(values):
    summed = 0
    for value in values:
        if value < 0:
            continue
        summed = summed + value
    return summed

def answer(ask):
    if "config" in ask:
        return Outer.from_mapping(ask["config"]).size
    return total(ask["values"])
"""
BINDING = """
from coordexp_audit_lib.pipelines.api import binds

@binds("toy.answer", answer=("src.toy:answer",))
def answer(request, here):
    return {"said": here.call(here.answer, request["ask"])}
"""


class Ask(msgspec.Struct, frozen=True):
    ask: dict[str, Any]


class Said(msgspec.Struct, frozen=True):
    said: Any


Check = Callable[[Context, Surface[Ask, Said]], Iterator[Violation]]


@pytest.fixture
def question(monkeypatch: pytest.MonkeyPatch) -> Surface[Ask, Said]:
    made = Surface(name="toy.answer", request=Ask, response=Said, summary="")
    monkeypatch.setitem(registry._SURFACES, made.name, made)
    return made


@pytest.fixture
def target(tmp_path: Path, question: object) -> Iterator[CheckoutTarget]:
    root, answers = tmp_path / "tree", tmp_path / "answers"
    for path, text in ((root / eras.MARK, ""), (root / "src/toy.py", TREE), (answers / "toy.py", BINDING)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    limits = Limits(first_seconds=60.0, seconds=60.0)
    opened = CheckoutTarget(root, python=sys.executable, bindings_dir=answers, limits=limits)
    with opened:
        yield opened


def line(text: str) -> int:
    return next(n for n, one in enumerate(TREE.splitlines(), start=1) if text in one)


def found(target: Target, question: Surface[Ask, Said], check: Check) -> Violation:
    claim = Claim(
        "toy.claim", "A demand.", lambda ctx: check(ctx, question), severity="P0", kind="B", remedy="Mend it."
    )
    finding = judge(target, claim, "")
    assert finding.status == "violated", finding.note
    return finding.violations[0]


def stray_key(ctx: Context, question: Surface[Ask, Said]) -> Iterator[Violation]:
    for key, config in (("stray", {"stray": 1}), ("inner.stray", {"inner": {"size": 2, "stray": 1}})):
        ctx.judged()
        if not ctx.ask(question, Ask({"config": config})).refused:
            yield Violation("An unknown key is accepted.", key, "refused", "accepted", {key: 1})


def lost_value(ctx: Context, question: Surface[Ask, Said]) -> Iterator[Violation]:
    for values in ([1, 2], [3], [4, -1], [5, 6, 7]):
        ctx.judged()
        if ctx.value(question, Ask({"values": values})).said != sum(values):
            yield Violation("a value is lost", "values", sum(values), None, {"values": values})


def poor_message(ctx: Context, question: Surface[Ask, Said]) -> Iterator[Violation]:
    ctx.judged()
    answer = ctx.ask(question, Ask({"config": {"stray": 1}}))
    yield Violation("the error names no cure", "a stray key", "a cure", answer.refusal and answer.refusal.message)


@pytest.mark.parametrize(
    ("check", "how", "place"),
    [
        (stray_key, "parser", ("return made", "Inner.from_mapping")),
        (lost_value, "lines", ("continue", "total")),
        (poor_message, "refusal", ("raise ValueError", "Outer.from_mapping")),
    ],
)
def test_the_place_is_found_by_what_the_code_did(
    check: Check, how: str, place: tuple[str, str], target: CheckoutTarget, question: Surface[Ask, Said]
) -> None:
    violation = found(target, question, check)
    text, symbol = place
    assert violation.where == Where("src/toy.py", line(text), f"src.toy:{symbol}")
    assert violation.found == how
    last = violation.others[-1]
    assert (last.found, last.where.symbol) == ("call", "src.toy:answer")


def test_a_recording_gives_the_same_place(target: CheckoutTarget, question: Surface[Ask, Said]) -> None:
    recorder = Recorder(target)
    live = [found(recorder, question, check) for check in (stray_key, lost_value)]
    kept = RecordingTarget(recorder.recording("0", "2026-01-01"), "kept")
    assert [found(kept, question, check) for check in (stray_key, lost_value)] == live


def test_a_recording_that_knows_no_places_names_what_was_asked(
    target: CheckoutTarget, question: Surface[Ask, Said]
) -> None:
    recorder = Recorder(target)
    found(recorder, question, lost_value)
    kept = recorder.recording("0", "2026-01-01")
    kept.places.clear()
    assert found(RecordingTarget(kept, "kept"), question, lost_value).found == "call"


def test_a_place_that_the_check_names_itself_stays(target: CheckoutTarget, question: Surface[Ask, Said]) -> None:
    mine = target.bindings()[question.name].where
    assert mine is not None
    mine = msgspec.structs.replace(mine, line=mine.line + 1)

    def named(ctx: Context, question: Surface[Ask, Said]) -> Iterator[Violation]:
        ctx.judged()
        ctx.ask(question, Ask({"values": [1]}))
        yield Violation("something is wrong", where=mine)

    violation = found(target, question, named)
    assert (violation.where, violation.found) == (mine, "symbol")
