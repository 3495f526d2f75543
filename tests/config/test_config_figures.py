"""The numbers behind the figures, and that they can be drawn."""

from __future__ import annotations

import re
from typing import Any

import matplotlib
import matplotlib.pyplot
import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.config import figures
from coordexp_audit_lib.boundaries.config.surfaces import LOAD, LoadRequest
from coordexp_audit_lib.core.claim import Context, exhibits
from coordexp_audit_lib.core.fault import Fault, Honest, faults
from coordexp_audit_lib.core.surface import Refuse
from coordexp_audit_lib.targets.reference import ReferenceTarget

matplotlib.use("Agg")
boundaries.load(["config"])
STAGE1 = "configs/stage1/ablation/geometry_first_coco80.yaml"
STAGE2 = "configs/stage2_ab/prod/ab_mixed.yaml"


def data_of(name: str, config: str = STAGE2, fault: str | Fault = "") -> dict[str, Any]:
    broken = fault if isinstance(fault, Fault) else next((f for f in faults() if f.id == fault), None)
    return exhibits()[name](Context(ReferenceTarget(broken), config, 0, name))


def rewords(pattern: str, instead: str) -> Fault:
    """A loader that refuses the same, with other words."""

    def apply(request: LoadRequest, honest: Honest) -> Any:
        try:
            return honest(request)
        except Refuse as refused:
            raise Refuse(re.sub(pattern, instead, str(refused))) from refused

    return Fault("reworded", LOAD, (), "", apply)


def test_the_resolution_counts_every_value_once() -> None:
    data = data_of("config.resolution", STAGE1)
    assert [figures.short(f) for f in data["files"]] == [
        "base.yaml",
        "stage1/sft_base.yaml",
        "stage1/sft_stage1_softce_w1-bbox-only.yaml",
        "stage1/ablation/geometry_first_coco80.yaml",
    ]
    training = data["sections"].index("training")
    assert [row[training] for row in data["counts"]] == [24, 25, 20, 3]
    replaced = sum(len(e["values"]) - 1 for e in data["overridden"])
    assert sum(map(sum, data["counts"])) - sum(map(sum, data["kept"])) == replaced > 0


def test_an_overridden_key_shows_its_values_in_order() -> None:
    rows = dict(figures.overridden_rows(data_of("config.resolution")))
    assert rows["stage2_ab.schedule.b_ratio"] == "stage2_ab/base.yaml: 0.05; stage2_ab/prod/ab_mixed.yaml: 0.85"


NO_REMEDY = rewords(r"\. Remedy: .*", "")
NO_PATH = rewords(r"[\w.\[\]]+\.(\w+): unknown key", r"\1: unknown key")


@pytest.mark.parametrize(
    ("fault", "node", "verdict"),
    [
        ("", "stage2_ab.schedule", "refused, path and remedy"),
        (NO_REMEDY, "stage2_ab.schedule", "refused, path but no remedy"),
        (NO_PATH, "rollout_matching.vllm.server.servers[0]", "refused, no path"),
        ("config.nested_sections_unchecked", "custom.coord_tokens", "accepted in silence"),
    ],
)
def test_a_node_gets_its_verdict(fault: str | Fault, node: str, verdict: str) -> None:
    data = data_of("config.unknown_keys", fault=fault)
    assert data["nodes"][node] == verdict
    assert sum(map(sum, data["counts"].values())) == len(data["nodes"]) > 20
    if fault:
        assert figures.node_rows(data)[0][1] == verdict


def test_an_accepted_value_shows_what_it_became() -> None:
    assert set(data_of("config.bad_values")["table"]["stage2_ab.n_softctx_iter"].values()) == {"refused"}
    broken = data_of("config.bad_values", fault="config.nan_accepted")
    assert broken["table"]["stage2_ab.schedule.b_ratio"]["NaN"] == "0.85"
    assert len(figures.value_rows(broken)[0]) == 1 + len(broken["kinds"])


@pytest.mark.parametrize(
    ("name", "draw", "marks"),
    [
        ("config.resolution", figures.draw_resolution, {"rollout_matching", "stage2_ab/base.yaml"}),
        ("config.unknown_keys", figures.draw_unknown_keys, {"custom", "stage2_ab"}),
        ("config.bad_values", figures.draw_bad_values, {"stage2_ab.schedule.b_ratio", "NaN"}),
    ],
)
def test_a_figure_labels_what_it_draws_as_text(name: str, draw: Any, marks: set[str]) -> None:
    fig = draw(data_of(name))
    labels = [*fig.axes[0].get_xticklabels(), *fig.axes[0].get_yticklabels()]
    assert marks <= {t.get_text() for t in labels}
    named = [t for t in labels if t.get_text() in marks]
    assert not any(t.get_parse_math() for t in named)
    matplotlib.pyplot.close(fig)
