"""What the scan calls a silenced failure, and which messages it calls actionable."""

from __future__ import annotations

import ast

import matplotlib
import pytest

from coordexp_audit_lib.boundaries.silence.figures import draw_scan
from coordexp_audit_lib.boundaries.silence.predicates import lacks
from coordexp_audit_lib.source.handlers import suppressions

METHOD = "class A:\n    def b(self):\n        try:\n            f()\n        except Exception:\n            pass\n"
TRY = "try:\n    f()\nexcept {}:\n    {}\n"


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        (TRY.format("Exception", "pass"), [3]),
        (TRY.format("Exception as e", "pass"), [3]),
        (TRY.format("BaseException", "..."), [3]),
        (TRY.format("builtins.Exception", "pass"), [3]),
        (TRY.format("(ValueError, Exception)", "'why'"), [3]),
        ("try:\n    f()\nexcept:\n    pass\n", [3]),
        ("import contextlib\nwith contextlib.suppress(Exception):\n    f()\n", [2]),
        ("import contextlib as c\nwith c.suppress(OSError, BaseException):\n    f()\n", [2]),
        ("from contextlib import suppress\nwith suppress(Exception):\n    f()\n", [2]),
        (METHOD, [5]),
        (TRY.format("ValueError", "pass"), []),
        (TRY.format("(OSError, ValueError)", "pass"), []),
        (TRY.format("Exception", "log('x')"), []),
        (TRY.format("Exception", "raise"), []),
        ("from contextlib import suppress\nwith suppress(OSError):\n    f()\n", []),
        ("def suppress(x): ...\nwith suppress(Exception):\n    f()\n", []),
    ],
)
def test_blanket_suppression(source: str, lines: list[int]) -> None:
    assert [s.line for s in suppressions(ast.parse(source), "a.py")] == lines


def test_a_suppression_names_its_method() -> None:
    assert [s.symbol for s in suppressions(ast.parse(METHOD), "a.py")] == ["A.b"]


@pytest.mark.parametrize(
    ("message", "missing"),
    [
        ("", ["a cause", "a place", "a remedy"]),
        ("bad value", ["a cause", "a place", "a remedy"]),
        ("the value is wrong", ["a place", "a remedy"]),
        ("stage2_ab.schedule.b_ratio must be in [0,1], got 7", []),
        ("Unknown keys: ['rollout_matching.x']. Migration guidance: remove unsupported keys", []),
        ("objects[17].bbox_2d has three values", ["a remedy"]),
        ("the number must be positive", ["a place"]),
    ],
)
def test_an_actionable_message_names_cause_place_and_cure(message: str, missing: list[str]) -> None:
    assert lacks(message) == missing


def test_silence_is_a_filled_square_among_those_that_speak() -> None:
    matplotlib.use("Agg")
    places = [[f"src/a.py:{n}", "f", "except Exception: pass"] for n in range(14)]
    made = draw_scan({"files": 3, "handlers": 100, "unparsed": [], "rows": places})
    speaking, silent = (len(c.get_offsets()) for c in made.axes[0].collections)
    assert (speaking, silent) == (86, 14)
    said = [t.get_text() for t in made.axes[0].texts]
    assert "1  src/a.py:0  f" in said and "and 2 more" in said
    assert "100 in 3 files" in made.told.caption
