"""What was measured of small changes and of right inputs: it is whole, and the tables say what was kept."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.report import mutants
from coordexp_audit_lib.report.detection import kept

TOOLS = Path(__file__).resolve().parents[2] / "tools" / "mutants"


@pytest.fixture(scope="module")
def sites() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sites", TOOLS / "sites.py")
    assert spec and spec.loader
    made = sys.modules["sites"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.mark.parametrize(
    ("source", "kind", "changed"),
    [
        ("def f(a):\n    return a < 3", "comparison", "def f(a):\n    return a <= 3"),
        ("def f(a, b):\n    return a and b", "and/or", "def f(a, b):\n    return a or b"),
        ("def f(a):\n    return not a", "dropped not", "def f(a):\n    return a"),
        ("def f(a):\n    return a[1]", "off by one", "def f(a):\n    return a[2]"),
        ("def f(a, b=1.5):\n    return a", "changed default", "def f(a, b=3.0):\n    return a"),
        ("def f(a, b):\n    g(a, b + 1)", "swapped arguments", "def f(a, b):\n    g(b + 1, a)"),
        ("def f(a):\n    g(a)", "removed statement", "def f(a):\n    pass"),
        ("def f(é, b):\n    return é - b", "arithmetic", "def f(é, b):\n    return é + b"),
        ("x = max(1, 2)", "other function", "x = min(1, 2)"),
    ],
)
def test_a_line_is_changed_in_one_place(sites: ModuleType, source: str, kind: str, changed: str) -> None:
    offered = [s for s in sites.Sites(source).found if s.kind == kind]
    assert changed in [sites.mutated(source, s) for s in offered]


@pytest.mark.parametrize(
    "source",
    [
        '"""Says 1 < 2."""',
        "def f(a: int | str = None) -> list[1]: ...",
        "logger.info('%d of %d', n - 1, n)",
        "raise ValueError(f'{n + 1} is too many')",
        "warnings.warn('at %s' % (n + 1))",
    ],
)
def test_what_only_a_reader_sees_is_never_changed(sites: ModuleType, source: str) -> None:
    found = sites.Sites(source).found
    assert [s for s in found if s.kind != "removed statement"] == []


def test_every_change_is_judged_and_what_noticed_it_is_a_claim() -> None:
    found = mutants.of_tree()
    boundaries.load(None)
    known = {c.id for c in claims()}
    assert (found["kind"] != mutants.CONTROL).sum() >= 300
    assert set(found["claim"]) - {""} <= known
    assert mutants.false_alarms(found).startswith("0 of ")


def test_bars_count_every_change_once() -> None:
    found = mutants.of_tree()
    rows, real = mutants.bars(found), found[found["kind"] != mutants.CONTROL]
    for by in ("boundary", "kind"):
        drawn, reached, judged, told = (sum(r[i] for r in rows if r[0] == by) for i in (2, 3, 4, 5))
        assert (drawn, reached) == (len(real), real["reached"].sum())
        assert told <= judged <= reached
        assert len(mutants.missed(found)) == judged - told


def test_what_was_not_judged_counts_neither_as_noticed_nor_as_missed() -> None:
    one = {"kind": "constant", "boundary": "config", "path": "a.py", "line": 1, "function": "f", "reached": True}
    rows = [{**one, "judged": True, "claim": "x.y", "status": "violated"}, {**one, "judged": False, "claim": ""}]
    (told, _) = mutants.noticed(pd.DataFrame(rows), "boundary")["of these, noticed"]
    assert told.startswith("1 of 1:")
    assert mutants.missed(pd.DataFrame(rows)).empty


def test_no_right_input_has_a_finding() -> None:
    found = mutants.controls()
    assert list(found.index) == sorted(b.name for b in boundaries.BOUNDARIES)
    assert (found["inputs"] >= 10_000).all() and (found["claims"] > 0).all()
    assert (found["findings"] == 0).all()


def test_each_survivor_of_the_own_mutants_is_answered() -> None:
    own = mutants.of_own()
    assert not own.empty
    assert list(own[(own["killed"] == "") & (own["why"] == "")]["name"]) == []


def test_an_answer_is_of_a_mutant_that_survived() -> None:
    survived = set(mutants.survivors(mutants.of_own()).index)
    assert set(kept("own_survivors.json") or {}) <= survived


def test_nothing_measured_is_an_empty_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutants, "kept", lambda name: None)
    for table in (mutants.of_tree(), mutants.of_own(), mutants.controls()):
        assert isinstance(table, pd.DataFrame) and table.empty
