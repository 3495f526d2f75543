"""What the notebook shows of a log: the numbers, and that the drawings take any of them."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.metrics import figures
from coordexp_audit_lib.boundaries.metrics.predicates.log import Log, row_of
from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import vocabulary
from coordexp_audit_lib.core.claim import Context
from coordexp_audit_lib.targets.reference import ReferenceTarget

mpl.use("agg")
boundaries.load(["metrics"])
WORDS = vocabulary()
STAGE1 = Log("a log", [row_of({"loss": 1.0, "step": n}, n, WORDS) for n in range(1, 60)], WORDS)
ODD = Log(
    "a log",
    [
        row_of({"loss": 1.0, "step": n, WORDS.channel_b: 1.0, f"{WORDS.reason}$a_{{{k}}}$ \x1b[1m": 2.0}, n, WORDS)
        for n in (1, 2)
        for k in range(12)
    ],
    WORDS,
)


@pytest.fixture(scope="module")
def real() -> dict[str, Any]:
    return figures.series(figures.real_log())


def test_the_real_series(real: dict[str, Any]) -> None:
    assert "".join(real["channels"]) == "ABBBABBB"
    assert real["schedule"] == [0.75, 0.8]
    assert real["dropped"] == [None, 20, 108, 238, None, 256, 168, 185]
    assert next(iter(real["reasons"])) == "wrong_arity"
    assert [sum(c[n] for c in real["reasons"].values()) for n in range(8)] == [d or 0 for d in real["dropped"]]
    assert real["broken"]["metrics.counters_are_counts"] == [0, 4, 3, 3, 0, 3, 4, 4]
    assert real["running_s"][3] == real["running_s"][4]


def test_the_tables_behind_the_figures(real: dict[str, Any]) -> None:
    head, rows = figures.numbers(real)
    assert len(rows) == 8
    assert {len(row) for row in rows} == {len(head)}
    _, averaged = figures.averaged(figures.real_log(), seed=17)
    assert [row[3] for row in averaged] == ["5.000/96"] * 4 + ["6.000/96", "5.000/96"]
    assert [float(row[6]) for row in averaged] == [row[7] for row in averaged] == [18, 18, 18, 19, 18, 18]
    assert len(figures.subjects(figures.real_log())) == 10


def test_the_reference_run_is_drawn(real: dict[str, Any]) -> None:
    run = figures.run(Context(ReferenceTarget(), ""))
    assert not any(sum(numbers) for numbers in run["broken"].values())
    for data in (run, real):
        assert len(figures.draw_log(data).axes) == 4
        assert len(figures.draw_broken(data).axes) == 1


@pytest.mark.parametrize("log", [STAGE1, ODD])
def test_any_log_can_be_drawn(log: Log) -> None:
    data = figures.series(log)
    for figure in (figures.draw_log(data), figures.draw_broken(data)):
        figure.canvas.draw()
