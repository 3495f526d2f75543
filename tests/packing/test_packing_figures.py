"""The figures' data say what the plan and the batch say, and they draw without a warning."""

from __future__ import annotations

import matplotlib
import pytest

from coordexp_audit_lib.boundaries.packing.figures import layout, long, model
from coordexp_audit_lib.core.claim import Context
from coordexp_audit_lib.targets.reference import ReferenceTarget

matplotlib.use("Agg")


@pytest.fixture
def context() -> Context:
    return Context(ReferenceTarget(), "", 0, "figures")


def test_layout_accounts_for_every_token(context: Context) -> None:
    data = layout.layout(context)
    assert sum(map(sum, data["packs"])) == data["tokens"]
    assert sum(map(len, data["packs"])) == data["samples"] == 240
    assert max(data["fills"]) <= 1 and data["fills"] == sorted(data["fills"], reverse=True)
    assert data["lower_bound"] <= len(data["packs"])
    shown = layout.shown_packs(data)
    assert (shown[0], shown[-1], len(shown)) == (0, len(data["packs"]) - 1, layout.SHOWN)
    layout.draw_layout(data).savefig("/dev/null", format="png")


def test_ribbon_shows_segments_runs_and_restarts(context: Context) -> None:
    data = layout.ribbon(context)
    assert [s["runs"] for s in data["segments"]] == [1, 2, 2, 1]
    assert [data["text_positions"][s] for s in data["starts"]] == [0] * 4
    assert set(data["roles"]) == {0, 1, 2, 3}
    assert sum(s["supervised"] for s in data["segments"]) == sum(data["supervised"])
    layout.draw_ribbon(data).savefig("/dev/null", format="png")


def test_influence_is_block_diagonal_and_causal(context: Context) -> None:
    data = model.influence(context)
    assert data["inside_nonzero"] == sum(n * (n + 1) // 2 for n in data["lengths"])
    assert (data["outside_nonzero"], data["ahead_nonzero"]) == (0, 0)
    assert data["outside"] == sum(data["lengths"]) ** 2 - sum(n * n for n in data["lengths"])
    panels = [(path, kernel, False) for path in ("dataset", "post_rollout") for kernel in ("varlen", "sdpa")]
    assert [(p["path"], p["attention"], p["refused"]) for p in data["panels"]] == panels
    model.draw_influence(data).savefig("/dev/null", format="png")
    model.draw_segments(data).savefig("/dev/null", format="png")


def test_mrope_planes_are_those_of_the_unpacked_samples(context: Context) -> None:
    data = model.mrope(context)
    assert data["different"] == 0 and data["rows"] == data["unpacked"]
    assert [s["images"] for s in data["segments"]] == [1, 0, 2]
    assert [s["largest mRoPE position"] < s["largest text position"] for s in data["segments"]] == [True, False, True]
    model.draw_mrope(data).savefig("/dev/null", format="png")


def test_a_pack_of_full_length_keeps_every_token_in_a_few_numbers(context: Context) -> None:
    data = long.long_pack(context)
    assert 0.95 * data["capacity"] < data["tokens"] <= data["capacity"] and len(data["starts"]) > 5
    for strip in ("roles", "supervised"):
        runs = long.read(data[strip])
        assert sum(count for _, count, _ in runs) == data["tokens"]
        assert [a + n for a, n, _ in runs[:-1]] == [a for a, _, _ in runs[1:]]
    starts = {at for at, position in long.read(data["text_positions"]) if position == 0}
    assert starts == set(data["starts"])
    assert len(str(data)) < 5 * data["tokens"]
    assert long.draw_long(data).axes


def test_a_polyline_is_kept_by_its_bends() -> None:
    assert long.turns([0, 1, 2, 3, 0, 1, 2]) == [[0, 0], [3, 3], [4, 0], [6, 2]]
    assert long.runs([1, 1, 0, 0, 0]) == [[0, 2, 1], [2, 3, 0]]
    assert long.read(long.written([[0, 2, 1], [2, 3, 0]])) == [[0, 2, 1], [2, 3, 0]]
