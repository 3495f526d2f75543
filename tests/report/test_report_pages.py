"""What the book's own pages say: the result at a glance, findings with their places, and a page for each claim."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import declared
from coordexp_audit_lib.core.errors import AuditError
from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.core.finding import Finding, Like, Violation
from coordexp_audit_lib.report import result
from coordexp_audit_lib.report.pages import facts, pages
from coordexp_audit_lib.report.pages.filling import SHARED, fill_claims

Make = Callable[..., Finding]
COMMIT = "b46e74f70ce96f401b3bf973d095607634be8c8c"


def violated(make: Make, **changes: Any) -> Finding:
    told = Violation("too long: 12", "a pack", 10, 12, {"lengths": [12]}, Where("src/a b.py", 3, "pack"))
    severity = changes.get("severity", "P0")
    kinds = (Like("too long: 12", 7, severity, "spec", "this config", ("a pack", "another")),)
    plain = {"status": "violated", "violations": [told], "violation_count": 7, "kinds": kinds, "reach": "this config"}
    return make(**{**plain, **changes})


@pytest.fixture
def made(make_document: Callable[..., dict[str, Any]], make_finding: Make) -> dict[str, Any]:
    found = [
        violated(make_finding),
        violated(make_finding, invariant="packing.each_once", severity="P2", authority="practice"),
        make_finding(invariant="packing.stable_order", status="unbound", checked=0, note="flash-attn is not installed"),
        make_finding(
            invariant="config.value_range", boundary="config", config="configs/a.yaml", configs=("configs/a.yaml",)
        ),
    ]
    document = make_document(found)
    document["configs"] = ["configs/a.yaml", "configs/b.yaml"]
    document["target"] |= {"repository": "owner/name", "commit": COMMIT}
    document["target"]["versions"] = {"flash-attn": "not installed", "vllm": "not installed", "torch": "2.8.0"}
    return document


def test_the_front_page_says_the_result_in_a_sentence_and_a_matrix(made: dict[str, Any]) -> None:
    text = pages.result_page(made, "")
    assert (
        "Of 4 verdicts on owner/name at commit b46e74f70ce9, 1 claims hold, 2 are violated (1 P0, 1 P2; 1 of them are "
        "advice), and 1 could not be decided."
    ) in text
    packing = next(row for row in facts.matrix(made) if row.name == "packing")
    assert packing.cells[0].counts == (("P0", 1), ("P2", 1), ("open", 1))
    assert packing.pages == ("pages/06_packing",) * 2
    assert "## The 2 findings that matter" in text
    assert "Refuse samples that are longer." in text


def test_the_matrix_counts_a_violation_for_the_configs_that_reach_it_with_the_worst_that_each_meets(
    make_document: Callable[..., dict[str, Any]], make_finding: Make
) -> None:
    def like(severity: str, *configs: str, reach: str = "this config") -> Like:
        return Like("too long", 1, severity, "spec", reach, ("a pack",), reached_in=configs)  # type: ignore[arg-type]

    one, two = "configs/a.yaml", "configs/b.yaml"
    found = [
        violated(make_finding, kinds=(like("P0", one), like("P1", one, two), like("P0", two, reach="none"))),
        violated(make_finding, invariant="packing.each_once", kinds=(like("P2", two),), severity="P2"),
        violated(make_finding, invariant="packing.stable_order", kinds=(like("P1"),), severity="P1"),
        violated(make_finding, invariant="packing.cap_known", kinds=(like("P0", two),), config=one, configs=(one,)),
        violated(make_finding, invariant="packing.own_check", kinds=(like("P0", two),), config=one, configs=(one, two)),
    ]
    document = make_document(found)
    document["configs"] = [one, two]
    cells = facts.matrix(document)[0].cells
    assert cells[0].counts == (("P0", 2), ("P1", 1)), "not the P2 that only the second config reaches"
    assert cells[1].counts == (("P0", 1), ("P1", 2), ("P2", 1)), "the first finding's P0 is not reached from here"
    assert result.matrix(document).iloc[0].tolist() == ["packing", "2 P0, 1 P1", "1 P0, 2 P1, 1 P2"]


def test_a_config_of_which_nothing_could_be_judged_is_no_column(
    make_document: Callable[..., dict[str, Any]], make_finding: Make
) -> None:
    one, two = "configs/a.yaml", "configs/b.yaml"

    def columns(*found: Finding) -> list[str | None]:
        document = make_document([make_finding(), *found])
        document["configs"] = [one, two]
        return result.columns(document)

    gone = [
        make_finding(invariant="packing.stable_order", status="unbound", checked=0, note=c, config=c, configs=(c,))
        for c in (one, two)
    ]
    assert columns() == [one, two], "no claim is about a config"
    assert columns(*gone) == [None]
    assert columns(*gone, make_finding(invariant="packing.each_once", config=two, configs=(two,))) == [two]


def test_each_verdict_has_a_shape_and_a_word_beside_its_colour(made: dict[str, Any]) -> None:
    signs = facts.SIGNS.values()
    assert len({s.html for s in signs}) == len({s.tex for s in signs}) == len({s.told for s in signs}) == 5
    assert '<span aria-hidden="true">✖</span>' in pages.result_page(made, "")


def test_places_lead_to_the_line_at_the_commit_on_its_public_host(made: dict[str, Any]) -> None:
    card = facts.finding(made, made["findings"][0])
    assert card["link"] == f"https://github.com/owner/name/blob/{COMMIT}/src/a%20b.py#L3"
    for change in ({"dirty": True}, {"repository": ""}, {"commit": "main"}, {"repository": "javascript:alert(1)"}):
        other = {**made, "target": {**made["target"], **change}}
        assert facts.link(other, {"path": "src/a.py", "line": 3}) == ""


def test_what_was_not_installed_is_told_with_the_verdicts_that_name_it(made: dict[str, Any]) -> None:
    assert facts.limits(made) == [
        {"name": "flash-attn", "touched": ["packing.stable_order"]},
        {"name": "vllm", "touched": []},
    ]


def test_the_like_is_folded_with_its_count_and_subjects(made: dict[str, Any]) -> None:
    text = pages.findings_page(made)
    assert text.count('id="finding-packing-capacity"') == 1
    assert '<span class="times">7×</span> too long: 12 <span class="aside">(a pack; another; and 5 more)</span>' in text
    assert "7 violations of 1 kind, with evidence" in text


def test_configs_that_come_out_differently_are_compared(made: dict[str, Any], make_finding: Make) -> None:
    other = violated(make_finding, invariant="config.value_range", boundary="config", configs=("configs/b.yaml",))
    document = {
        **made,
        "findings": [
            *made["findings"],
            {**made["findings"][0], "invariant": other.invariant, "configs": ["configs/b.yaml"]},
        ],
    }
    text = pages.comparison_page(document, [])
    assert "Of 1 claims that are judged for each configuration, 0 come out alike" in text
    assert "held" in text and "violated, 7" in text


def test_every_claim_has_a_page_with_its_demand_and_its_faults(made: dict[str, Any], tmp_path: Path) -> None:
    boundaries.load(["packing"], ("claims",))
    told = pages.claims_told(made)
    assert {t.id for t in told} == {c.id for c in declared()}
    shared = tmp_path / f"{SHARED}.html"
    shared.parent.mkdir()
    shared.write_text("".join(f"<div>{pages.mark(name)}</div>" for name in pages.PARTS))
    fill_claims(tmp_path, told)
    page = (tmp_path / "claims/packing-cu_seqlens.html").read_text()
    assert "variable-length attention kernel" in page
    assert "cu_seq_lens are int64" in page.replace("<wbr>", "")
    assert "AUDIT" not in page
    assert not shared.exists()
    assert 'href="../findings.html#finding-packing-capacity"' in (tmp_path / "claims/packing-capacity.html").read_text()


def test_a_shared_page_without_a_place_for_a_part_is_refused(made: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "claims").mkdir()
    (tmp_path / f"{SHARED}.html").write_text("AUDITTITLE")
    with pytest.raises(AuditError, match="no place for demand"):
        fill_claims(tmp_path, [])


def test_the_recipe_names_what_makes_the_pages_again(made: dict[str, Any]) -> None:
    assert facts.recipe(made)[0].startswith("coordexp-audit run --target coordexp-b46e74f --config configs/a.yaml")
    live = {**made, "target": {**made["target"], "kind": "checkout"}}
    assert facts.recipe(live)[0] == f"git -C CHECKOUT switch --detach {COMMIT}"


def test_prose_of_the_book_states_no_number_that_a_run_could_contradict() -> None:
    for path in (Path(__file__).parents[2] / "book").glob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"\b\d+ (?:claims|findings|violations) (?:are|hold|were)\b", text), path.name


def test_code_in_prose_breaks_after_a_name_s_punctuation_and_a_block_of_code_stays() -> None:
    from coordexp_audit_lib.report.sphinx_extension import breaking

    told = '<p><code class="x"><span class="pre">packing.cu_seqlens</span></code> a.b</p><pre><code>a.b_c</code></pre>'
    broken = '<p><code class="x"><span class="pre">packing.<wbr>cu_<wbr>seqlens</span></code> a.b</p>'
    assert breaking(told) == broken + "<pre><code>a.b_c</code></pre>"


def test_the_interface_s_page_has_every_name_that_is_importable_from_the_top_and_every_guard() -> None:
    import coordexp_audit_lib
    from coordexp_audit_lib import guards
    from coordexp_audit_lib.report.pages.reference import PARTS, entries, reference_page

    shown = {entry.name for _, _, names in PARTS for name in names for entry in entries(name)}
    assert {*coordexp_audit_lib.__all__, *guards.__all__} - {"guards"} <= shown
    text = reference_page()
    assert all(f"`{name}`" in text for name in coordexp_audit_lib.__all__)
    assert "### `read_audit`" in text and "### `Audit.to_dataframe`" in text and "-&gt; Audit" in text
    assert "Raises:\n    UsageError" in text
