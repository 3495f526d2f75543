"""The places that the pipeline names, and how near the audit's places are to those to be mended."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.judge import audit
from coordexp_audit_lib.core.pipeline import pipelines
from coordexp_audit_lib.pipelines.coordexp.places import PLACES, UNTRACED
from coordexp_audit_lib.source.anchors import anchored
from coordexp_audit_lib.source.statements import Statements
from coordexp_audit_lib.targets.checkout import CheckoutTarget

TABLE = json.loads((Path(__file__).parent / "places_b46e74f.json").read_text(encoding="utf-8"))
TOOL = Path(__file__).resolve().parents[2] / "tools" / "places_to_mend.py"


def tool() -> Any:
    spec = importlib.util.spec_from_file_location("places_to_mend", TOOL)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_places_are_named_for_claims_and_surfaces_that_there_are() -> None:
    boundaries.load()
    from coordexp_audit_lib.core.surface import surfaces

    assert set(PLACES) <= {c.id for c in claims()}
    assert set(surfaces()) >= UNTRACED
    assert {r["claim"] for r in TABLE["rows"]} <= {c.id for c in claims()}
    assert all(p.places().keys() <= {c.id for c in claims()} for p in pipelines().values())


@pytest.mark.parametrize(
    ("where", "near", "right"),
    [
        ({"path": "a.py", "line": 12, "symbol": "a:f"}, True, True),
        ({"path": "a.py", "line": 26, "symbol": "a:f"}, False, True),
        ({"path": "a.py", "line": 26, "symbol": "a:f.inner"}, False, True),
        ({"path": "a.py", "line": 26, "symbol": "a:fine"}, False, False),
        ({"path": "b.py", "line": 12, "symbol": "b:f"}, False, False),
        (None, False, False),
    ],
)
def test_how_near_a_place_is(where: dict[str, Any] | None, near: bool, right: bool) -> None:
    table = {"configs": {}, "rows": [{"claim": "c.d", "config": "", "about": "x", "places": [PLACE]}]}
    violation = {"subject": "x", "message": "", "where": where}
    finding = {"invariant": "c.d", "config": None, "status": "violated", "violations": [violation]}
    assert [found[2:4] for found in tool().judged([finding], table)] == [(right, near)]


PLACE = {"path": "a.py", "symbol": "f", "first": 15, "last": 20}


@pytest.mark.checkout
def test_what_the_pipeline_names_stands_in_the_tree(checkout: CheckoutTarget) -> None:
    """At least one place of each claim of the table; others stand in other eras."""
    if checkout.info().commit != TABLE["commit"]:
        pytest.skip("the table of places is of another commit")
    statements, known = Statements(checkout.tree), {r["claim"] for r in TABLE["rows"]}
    wanted = [(c, n) for c, named in PLACES.items() for n in named if n.symbols and c in known]
    assert len(wanted) >= 15
    standing = {c for c, n in wanted if anchored(checkout.tree, statements, n.symbols, n.at) is not None}
    assert {c for c, _ in wanted} - standing == set()


@pytest.mark.checkout
def test_true_findings_point_near_the_line_to_mend(checkout: CheckoutTarget) -> None:
    """Of the boundaries that answer in seconds; `tools/places_to_mend.py` prints the figures of a whole audit."""
    if checkout.info().commit != TABLE["commit"]:
        pytest.skip("the table of places is of another commit")
    boundaries.load(["packing", "geometry"])
    chosen = [
        c for c in claims() if c.boundary in ("packing", "geometry") and c.id in {r["claim"] for r in TABLE["rows"]}
    ]
    findings = msgspec.to_builtins(audit(checkout, chosen, checkout.pipeline().configs))
    found = list(tool().judged(findings, TABLE))
    assert len({name for name, *_ in found}) >= 5
    assert sum(f[2] for f in found) >= 0.8 * len(found)
    assert sum(f[3] for f in found) >= 0.6 * len(found)
