"""The figures' data are counts of real questions, and drawing takes nothing else."""

from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.provenance import figures
from coordexp_audit_lib.boundaries.provenance.predicates.drift import RANKS
from coordexp_audit_lib.core.claim import Context
from coordexp_audit_lib.targets.reference import ReferenceTarget

boundaries.load(["provenance"])
mpl.use("agg")


def context() -> Context:
    return Context(ReferenceTarget(), "configs/stage2_ab/prod/ab_mixed.yaml")


def test_the_reference_holds_something_for_every_purpose() -> None:
    data = figures.contents(context())
    assert [row for row in data["rows"] if row[2] == 0] == []
    assert len(data["rows"]) == len(figures.PURPOSES)
    figure = figures.draw_contents({**data, "rows": [["$p$", "$x_", 0], *data["rows"]]})
    assert any(t.get_text() == "not recorded" for t in figure.axes[0].texts)
    plt.close(figure)


def test_each_change_shows_at_the_rank_that_is_expected() -> None:
    data = figures.drift(context())
    assert data["ranks"] == list(RANKS)
    for row, rank in zip(data["counts"], data["expected"], strict=True):
        assert row[RANKS.index(rank)] > 0
        assert sum(row[: RANKS.index(rank)]) == 0
    figure = figures.draw_drift(data)
    assert len(figure.axes[0].patches) == len(data["changes"])
    plt.close(figure)


def test_the_report_and_the_folder_of_the_notebook() -> None:
    rows = figures.two_runs(context())["rows"]
    assert [r[0] for r in rows] == sorted((r[0] for r in rows), key=list(RANKS).index)
    assert {r[0] for r in rows} == set(RANKS)
    assert all(found == 0 for _, _, found, _ in figures.secrets(context())["rows"])
    verdicts, leaked = figures.own_run()
    assert leaked == 0
    assert {name: v for name, v, _ in verdicts if v != "held"} == {"provenance.weights_only": "unbound"}
