"""On a real CoordExp tree: every surface answers, and what is violated there is what was confirmed by hand."""

from __future__ import annotations

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.judge import judge
from coordexp_audit_lib.core.target import Target
from tests.conftest import only_at_reference

boundaries.load(["geometry"])
pytestmark = pytest.mark.checkout

# At b46e74f, read in the code: convert_to_coord_tokens.py:97-100 (floor, ceil) and 108-121 (nudge); augmentation.py:439
# (rounds numbers), src/datasets/geometry.py:807 (clips bins as pixels); train.sh:183 (opens the first 256 images).
# contracts.py:47 (a key `messages`) skips the contract.
VIOLATED = {"bins_k999", "bins_in_range", "box_ordered", "no_resize", "size_matches_file", "augment_identity"}
VIOLATED |= {"record_contract"}


@pytest.mark.parametrize("claim", [i.id for i in claims("geometry")])
def test_the_verdict_at_the_reference_commit(checkout: Target, claim: str) -> None:
    only_at_reference(checkout)
    finding = judge(checkout, next(i for i in claims("geometry") if i.id == claim), "")
    stand_in = any(e.symbol == "image loader" and "stand-in" in str(e.value) for e in finding.evidence)
    expected = "violated" if claim.removeprefix("geometry.") in VIOLATED else "held"
    assert (finding.status, bool(finding.note)) == (("unbound", True) if stand_in else (expected, False))
    assert all(v.where is not None and v.where.line > 0 for v in finding.violations)


def test_every_surface_is_bound_or_said_to_be_missing(checkout: Target) -> None:
    rows = {n: b for n, b in checkout.bindings().items() if n.startswith("geometry.")}
    assert len(rows) == 15
    assert all(b.status in ("bound", "moved") and b.line > 0 for b in rows.values())
