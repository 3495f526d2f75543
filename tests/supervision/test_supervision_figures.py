"""What the exhibits say, and that they can be drawn."""

from __future__ import annotations

import matplotlib
import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.supervision.figures import channel_a, drawing, tables
from coordexp_audit_lib.core.claim import Context, exhibits
from coordexp_audit_lib.targets.reference import ReferenceTarget

boundaries.load(["supervision"])
matplotlib.use("Agg")


@pytest.fixture(scope="module")
def data() -> dict[str, dict]:
    return {name: made(Context(ReferenceTarget(), "", 0, name)) for name, made in exhibits("supervision").items()}


def test_the_ribbon_tells_matched_false_and_appended_apart(data: dict[str, dict]) -> None:
    tokens = data["supervision.ribbon"]["tokens"]
    supervised = {(t["fate"], t["role"]) for t in tokens if t["supervised"]}
    assert {("matched", "structure"), ("appended", "structure"), ("appended", "desc")} <= supervised
    assert not any(t["supervised"] or t["geometry"] for t in tokens if t["fate"] == "false positive")
    assert ("matched", "desc") not in supervised
    assert [t["target"] for t in tokens if t["geometry"]] == [110, 100, 300, 310, 600, 610, 900, 900]
    figure = drawing.draw_ribbon(data["supervision.ribbon"])
    assert len(figure.axes) == -(-len(tokens) // drawing.PER_LINE)


def test_the_match_is_that_of_a_real_rollout(data: dict[str, dict]) -> None:
    shown = data["supervision.match_drawn"]
    used = {p["gt"] for p in shown["pred"] if p["gt"] >= 0}
    assert used and sorted([*used, *shown["missed"]]) == list(range(len(shown["gt"])))
    assert drawing.draw_match(shown).axes


def test_the_schedule_is_drawn_as_it_runs(data: dict[str, dict]) -> None:
    assert data["supervision.schedule_drawn"]["b_steps"]["0.05"] == [19, 39, 59]
    assert drawing.draw_schedule(data["supervision.schedule_drawn"]).axes


def test_straddling_tokens_and_append_points_are_listed(data: dict[str, dict]) -> None:
    real = {t["token"]: t["covers"] for t in data["supervision.straddling"]["real"]}
    assert real["]}"] == "structure + closure"
    treated = {(t["token"], t["fate"]): t["treated"] for t in data["supervision.straddling"]["treated"]}
    assert treated['.",', "matched"] == treated['.",', "appended"] == "as structure"
    points = data["supervision.append_points"]["points"]
    assert points and all(p["target"] == p["canonical"] for p in points)
    assert "same" in tables.append_table(data["supervision.append_points"]).to_string()


def test_channel_a_is_shown_forward_by_forward(data: dict[str, dict]) -> None:
    shown = data["supervision.channel_a"]
    slots = {n for n, t in enumerate(shown["tokens"]) if t["role"] == "coordinate"}
    assert len(slots) == shown["slots"] and set(shown["modes"]) == {"unroll", "em_detach"}
    for first, *later in shown["modes"].values():
        assert not first["changed"] and not slots & set(first["text"])
        assert first["text"] and max(first["text"]) < len(shown["tokens"])
        assert all(set(one["changed"]) == slots and not one["text"] for one in later)
    figure = channel_a.draw_channel_a(shown)
    assert len(figure.axes) == -(-len(shown["tokens"]) // channel_a.PER_LINE)
