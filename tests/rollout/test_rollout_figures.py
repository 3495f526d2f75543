"""The figures draw what their data says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from coordexp_audit_lib.boundaries.rollout import figures
from coordexp_audit_lib.core.claim import Context
from coordexp_audit_lib.targets.reference import Memory, ReferenceTarget

MEMORY: Memory = {}


@pytest.fixture(autouse=True)
def _no_window(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MPLBACKEND", "agg")
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture
def ctx() -> Context:
    return Context(ReferenceTarget(memory=MEMORY), "", 0, "figures")


def texts(figure: object) -> str:
    from matplotlib.text import Text

    return "\n".join(t.get_text() for t in figure.findobj(Text))  # type: ignore[attr-defined]


def test_a_request_is_shown_field_by_field(ctx: Context) -> None:
    data = figures.exchange(ctx)
    said = texts(figures.draw_exchange(data))
    for field in ("return_details = true", "images[1]", "prompt_token_ids", "ends with the user's turn"):
        assert field in said
    assert data["read"] == {"prompt_token_ids": [11, 872, 198], "token_ids": [1294, 12], "error": ""}


def test_a_chunk_plan_shows_every_request_once_for_each_rank(ctx: Context) -> None:
    data = figures.chunks(ctx)
    for rank in range(data["ranks"]):
        sent = [n for c in data["calls"] if c["rank"] == rank for n in range(c["first"], c["last"] + 1)]
        assert sent == list(range(data["requests"]))
    assert all(data["in_order"])
    assert "server 1: 2 GPUs" in texts(figures.draw_chunks(data))


def test_misdeeds_have_a_row_each(ctx: Context) -> None:
    data = figures.misdeeds(ctx)
    assert [r["misdeed"] for r in data["rows"] if r["sound"]] == ["none: a sound answer"]
    assert all(r["raised"] and r["said"] and r["once"] and r["in_time"] for r in data["rows"] if not r["sound"])
    said = texts(figures.draw_misdeeds(data))
    assert "no" not in said.split("\n") and said.count("none due") == 2


def test_a_timeline_has_two_lanes_for_each_failure(ctx: Context) -> None:
    data = figures.timeline(ctx)
    assert [len(s["ranks"]) for s in data["scenarios"]] == [2] * 5
    assert all(r["events"][-1] == "raises" for s in data["scenarios"] for r in s["ranks"])
    said = texts(figures.draw_timeline(data))
    assert said.count("rank 0\n") >= 5 and "fails in\nweight sync" in said
    assert "not measured" in figures.draw_timeline(data).told.caption  # the reference's ranks are threads


def test_a_timeline_that_was_measured_has_a_clock_beside_it(ctx: Context) -> None:
    data = figures.timeline(ctx)
    for scenario in data["scenarios"]:
        for lag, rank in enumerate(scenario["ranks"]):
            rank["seconds"] = [0.25 * (n + lag) for n, _ in enumerate(rank["events"])]
    last = max(max(r["seconds"]) for s in data["scenarios"] for r in s["ranks"])
    made = figures.draw_timeline(data)
    assert len(made.axes) == 2 * len(data["scenarios"])
    assert all(made.axes[n].get_xlim()[1] > last for n in range(1, 10, 2))
    assert f"the longest took {last:.3g} s" in made.told.caption


def test_seeds_and_collectives_have_their_numbers(ctx: Context) -> None:
    data = figures.seeds(ctx)
    assert (len(data["seeds"]), data["distinct"], data["error"]) == (8, 8, "")
    assert {c["kind"] for c in figures.collectives(ctx)["collectives"]} == {"shared"}
