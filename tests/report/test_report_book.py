"""What the book refuses: pages that would silently be missing, empty or unreachable, and a machine without TeX."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.errors import AuditError, UsageError
from coordexp_audit_lib.core.folder import MARKER, OwnFolder, write_atomically
from coordexp_audit_lib.report import book, tex
from coordexp_audit_lib.report.book import build_book, check_source, run_sphinx, write_pictures, write_source
from coordexp_audit_lib.report.document import read_audit
from coordexp_audit_lib.report.outputs import clean

Break = Callable[[Path], None]
PAGE = "notebooks/02_config.stage2_ab-prod-ab_mixed.ipynb"


@pytest.fixture
def run(tmp_path: Path, make_run: Any, statuses: Any) -> Path:
    made: Path = make_run(tmp_path / "run", ("one", "two"), statuses())
    return made


def edited(change: Callable[[dict[str, Any]], None]) -> Break:
    def apply(run: Path) -> None:
        notebook = json.loads((run / PAGE).read_text())
        change(notebook)
        (run / PAGE).write_text(json.dumps(notebook))

    return apply


def stripped(notebook: dict[str, Any]) -> None:
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None


def never_executed(notebook: dict[str, Any]) -> None:
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["execution_count"] = None


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda run: (run / PAGE).unlink(), "a page of the book has no notebook"),
        (lambda run: (run / "notebooks/99_other.x.ipynb").write_text("{}"), "belongs to no page"),
        (lambda run: (run / PAGE).write_text("{"), "not a notebook"),
        (lambda run: (run / PAGE).write_text("[]"), "it has no cells"),
        (edited(stripped), "its outputs were stripped"),
        (edited(never_executed), "it was never executed"),
        (edited(lambda n: n["cells"].pop(0)), "no level-1 heading"),
        (edited(lambda n: n["cells"][0].update(source="## Smaller")), "no level-1 heading"),
        (lambda run: (run / "audit.json").unlink(), "there is no such file"),
    ],
)
def test_a_book_that_would_lack_something_is_refused(broken: Break, says: str, run: Path) -> None:
    broken(run)
    with pytest.raises(AuditError, match=says) as caught:
        build_book(run, ("html",))
    assert caught.value.remedy


def test_a_folder_called_book_that_is_not_ours_is_left_alone(run: Path) -> None:
    (run / "book").mkdir()
    (run / "book" / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"holds no book of ours.*Remedy"):
        build_book(run, ("html",))
    assert (run / "book" / "thesis.tex").read_text() == "years of work"


def test_a_book_that_cannot_be_built_leaves_nothing_and_the_one_before_stays(run: Path) -> None:
    (run / PAGE).unlink()
    with pytest.raises(AuditError):
        build_book(run, ("html",))
    assert not (run / "book").exists()
    book_ = OwnFolder.claim(run / "book", "book")
    write_atomically(book_.root / "html" / "index.html", "<h1>")
    with pytest.raises(AuditError):
        build_book(run, ("html",))
    assert {p.name for p in (run / "book").rglob("*")} == {MARKER, "html", "index.html"}


def listed_too(entry: str) -> Callable[[Path, dict[str, Any]], object]:
    return lambda source, toc: toc["parts"][0]["chapters"].append({"file": entry})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (listed_too("nowhere"), "0 files, not 1"),
        (listed_too("method"), "stands twice"),
        (lambda source, toc: (source / "findings.ipynb").write_text("{}"), "2 files, not 1"),
        (lambda source, toc: (source / "method.md").write_text("no title"), "no level-1 heading"),
    ],
)
def test_a_toc_entry_needs_exactly_one_file_with_a_title(
    change: Callable[[Path, dict[str, Any]], object], says: str, run: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    toc = write_source(run, read_audit(run), source)
    check_source(source, toc)
    change(source, toc)
    with pytest.raises(AuditError, match=says):
        check_source(source, toc)


def test_a_warning_of_sphinx_is_an_error_that_names_the_page(run: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    write_source(run, read_audit(run), source)
    write_pictures(source)
    with (source / "method.md").open("a") as file:
        file.write("\n[nowhere](missing-page.md)\n")
    with pytest.raises(AuditError, match=r"method\.md:\d+: WARNING"):
        run_sphinx(source, [("html", tmp_path / "html")])


def test_unknown_formats_are_refused(run: Path) -> None:
    for formats in (("epub",), ()):
        with pytest.raises(UsageError, match="no format"):
            build_book(run, formats)


def test_without_tex_the_latex_is_there_and_the_cure_is_told(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tex.shutil, "which", lambda name: None)
    made = build_book(run, ("pdf",))
    assert set(made) == {"tex", "appendix_tex"}
    assert made["tex"].stat().st_size > 1000
    said = capsys.readouterr().err
    assert "lacks latexmk, xelatex, kpsewhich" in said
    assert "apt-get install latexmk texlive-xetex" in said


def test_latex_that_fails_says_its_first_error(tmp_path: Path) -> None:
    if tex.missing():
        pytest.skip("needs TeX")
    (tmp_path / "audit.tex").write_text("\\documentclass{article}\n\\begin{document}\n\\nonsense\n\\end{document}\n")
    with pytest.raises(AuditError, match=r"audit\.tex:3: Undefined control sequence"):
        tex.make_pdf(tmp_path, "audit", 0)


def test_the_title_page_names_the_commit_and_the_pdf_bears_its_date(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = read_audit(run)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert book._edition(made) == "coordexp-b46e74f, commit b46e74f, of 2026-02-20"
    assert book.epoch(made) == 1771545600
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "12")
    assert book.epoch(made) == 12


def notebook_with(*outputs: dict[str, Any]) -> dict[str, Any]:
    code = {"cell_type": "code", "source": "x", "metadata": {}, "execution_count": 1, "outputs": list(outputs)}
    return {"cells": [{"cell_type": "markdown", "source": ["# T"], "metadata": {}}, code], "metadata": {}}


@pytest.mark.parametrize("kind", ["text/markdown", "application/javascript", "text/latex"])
def test_outputs_of_other_kinds_are_refused(kind: str) -> None:
    notebook = notebook_with({"output_type": "display_data", "data": {kind: "x"}, "metadata": {}})
    with pytest.raises(AuditError, match="which the book does not show"):
        clean(notebook, "n")


def test_an_exception_is_shown_as_text_and_colours_are_dropped() -> None:
    error = {"output_type": "error", "ename": "E", "evalue": "\x1b[31m<b>", "traceback": ["\x1b[0;31mE"]}
    notebook = notebook_with(error)
    banner = {"cell_type": "markdown", "source": "<span>", "metadata": {"tags": ["papermill-error-cell-tag"]}}
    notebook["cells"].insert(0, banner)
    clean(notebook, "n")
    assert [c["cell_type"] for c in notebook["cells"]] == ["markdown", "code"]
    assert notebook["cells"][1]["outputs"] == [{"output_type": "stream", "name": "stdout", "text": "E: <b>"}]


def test_configs_of_one_file_name_have_pages_of_their_own() -> None:
    prod, smoke = (boundaries.slug(f"configs/stage2_ab/{kind}/ab_mixed.yaml") for kind in ("prod", "smoke"))
    assert prod != smoke
    odd = [
        boundaries.slug(name) for name in ("configs/a/b.yaml", "configs/a b.yaml", "configs/a-b.yaml", "x/../a.yaml")
    ]
    assert len({prod, smoke, *odd}) == 6
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", name) for name in (prod, smoke, *odd))


def test_a_boundary_whose_claims_need_no_config_stands_once(run: Path, tmp_path: Path) -> None:
    toc = write_source(run, read_audit(run), tmp_path / "source")
    chapters = [c["file"] for part in toc["parts"] for c in part["chapters"]]
    assert sum("06_packing" in c for c in chapters) == 1
    assert sum("02_config" in c for c in chapters) == 2
