"""Citations by era: each is read at the commit it names, and stands in that commit's tree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from coordexp_audit_lib.core.citation import Citation
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.target import Target
from coordexp_audit_lib.pipelines.coordexp import citing
from coordexp_audit_lib.targets.checkout import CheckoutTarget

NEWEST = "2026-05"


def commits(era: str) -> set[str]:
    return {c.commit for cited in pipeline().citations(era).values() for c in cited}


def test_each_era_cites_its_own_commit() -> None:
    assert commits("") <= {citing.COMMIT, citing.NEWEST}  # of what only the newest has, there is nothing older to cite
    assert commits(NEWEST) == {citing.NEWEST}


def test_an_era_of_no_known_commit_is_judged_by_the_reference_commit() -> None:
    assert pipeline().citations("before 2026-02-11") == pipeline().citations()


def test_a_demand_that_moved_is_cited_where_it_stands_now() -> None:
    (old,), (new,) = (pipeline().citations(era)["supervision.no_helper_kwargs"] for era in ("", NEWEST))
    assert (old.path, new.path) == ("src/trainers/stage2_ab_training.py", "src/trainers/stage2_two_channel.py")


def test_a_demand_that_is_gone_is_cited_no_more() -> None:
    assert pipeline().citations()["metrics.no_dilution"]
    assert pipeline().citations(NEWEST)["metrics.no_dilution"] == ()


@pytest.mark.checkout
def test_what_is_cited_stands_in_the_tree(checkout: Target) -> None:
    assert isinstance(checkout, CheckoutTarget)
    commit = checkout.info().commit
    cited = {c for found in checkout.citations().values() for c in found}
    if not any(commit.startswith(c.commit) for c in cited):
        pytest.skip(f"no citation was read at {commit[:7]}")
    here = [c for c in cited if commit.startswith(c.commit)]  # what only the newest has, an older tree need not hold
    assert sorted(str(c) for c in here if not stands(checkout.tree.root, c)) == []


def stands(root: Path, cited: Citation) -> bool:
    """Whether the file has the heading, or the last part of the symbol's name."""
    path = root / cited.path
    if not path.is_file():
        return False
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".md":
        return re.search(rf"^#+ (Requirement: )?{re.escape(cited.requirement)}\s*$", text, re.M) is not None
    return cited.requirement.rpartition(".")[2] in text
