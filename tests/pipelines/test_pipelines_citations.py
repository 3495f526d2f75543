"""Citations by era: each is read at the commit it names, and stands in that commit's tree."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
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
    (old,), (new,) = (pipeline().citations(era)["packing.ddp_aligned"] for era in ("", NEWEST))
    assert old.path == "openspec/changes/stage1-static-packing/specs/packing-dataset/spec.md"
    assert new.path == "openspec/specs/packing-dataset/spec.md"


def test_a_demand_that_is_gone_is_cited_no_more() -> None:
    assert pipeline().citations()["metrics.no_dilution"]
    assert pipeline().citations(NEWEST)["metrics.no_dilution"] == ()


def every() -> list[tuple[str, Citation]]:
    return [(claim, c) for era in ERAS for claim, cited in pipeline().citations(era).items() for c in cited]


ERAS = ("", NEWEST)


@pytest.mark.parametrize(("claim", "cited"), every(), ids=lambda part: part if isinstance(part, str) else part.path)
def test_only_what_is_written_to_be_demanded_is_cited(claim: str, cited: Citation) -> None:
    assert cited.path.startswith(("openspec/", "docs/")), "what code does demands nothing"
    assert cited.path.endswith(".md")


@pytest.mark.parametrize("claim", ["config.unknown_section_key_rejected", "config.removed_key_rejected"])
@pytest.mark.parametrize("era", ERAS)
def test_what_is_demanded_of_every_config_is_cited_for_every_config(claim: str, era: str) -> None:
    stage1 = [c for c in pipeline().citations(era)[claim] if c.covers("configs/stage1/any.yaml")]
    assert [c.path for c in stage1] == ["docs/standards/CODE_STYLE.md"]


@pytest.mark.parametrize("era", ERAS)
def test_an_era_permits_nothing_that_it_demands(era: str) -> None:
    demanded = {claim for claim, cited in pipeline().citations(era).items() if cited}
    assert not demanded & pipeline().permitted(era).keys()


@pytest.mark.parametrize("era", ERAS)
def test_what_goes_beyond_a_citation_is_said_of_claims_that_are_cited(era: str) -> None:
    demanded = {claim for claim, cited in pipeline().citations(era).items() if cited}
    beyond = pipeline().beyond(era)
    own = {c for c in beyond if c in pipeline().permitted(era)}
    assert beyond and not (beyond.keys() - demanded - own)
    assert all(re.compile(pattern) and why for told in beyond.values() for pattern, why in told)


def test_what_came_to_be_demanded_is_permitted_before_and_not_after() -> None:
    claim = "config.length_coherent"
    assert claim in pipeline().permitted() and claim not in pipeline().permitted(NEWEST)
    assert not pipeline().citations().get(claim) and pipeline().citations(NEWEST)[claim]
    assert pipeline().permitted(NEWEST)["config.extends_sound"]  # what no era says otherwise holds on


@pytest.mark.checkout
def test_an_archived_change_is_cited_only_where_no_live_text_has_the_requirement(checkout: Target) -> None:
    assert isinstance(checkout, CheckoutTarget)
    root = checkout.tree.root
    live = [p.relative_to(root).as_posix() for p in root.glob("openspec/**/*.md") if "archive" not in p.parts]
    archived = {c for found in checkout.citations().values() for c in found if "/archive/" in c.path}
    assert archived
    for cited in archived:
        held = [path for path in live if stands(root, msgspec.structs.replace(cited, path=path))]
        assert not held, cited


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
