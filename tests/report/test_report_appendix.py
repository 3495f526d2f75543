"""The appendix for print: a document of its own, and one that a paper takes in with `\\input`."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.report import tex
from coordexp_audit_lib.report.appendix import NAME, in_ascii, write_appendix
from coordexp_audit_lib.report.document import read_audit
from coordexp_audit_lib.report.figure import Told
from coordexp_audit_lib.report.pages.render import as_tex

PAPERS = {
    "a plain article": "\\documentclass{article}",
    "two columns": "\\documentclass[twocolumn]{article}",
    "a journal's two columns": "\\documentclass[conference]{IEEEtran}",
}
ELSEWHERE = (
    "\\documentclass[twocolumn]{revtex4-2}",
    "\\documentclass[twocolumn]{report}",
)  # where TeX lacks that class
PAPER = """%s
\\usepackage{appendix/coordexp-audit}
\\begin{document}
\\emergencystretch=3em
\\title{A paper}\\author{Somebody}\\maketitle
\\section{Results} As the audit says (Section~\\ref{audit:result}).
\\appendix
\\input{appendix/appendix}
\\end{document}
"""


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory,
    statuses: Callable[..., list[Finding]],
    make_run: Callable[[Path, Sequence[str], Sequence[Finding]], Path],
    hostile_words: tuple[str, ...],
) -> Path:
    boundaries.load(["packing"], ("claims", "faults"))
    return make_run(tmp_path_factory.mktemp("run") / "run", hostile_words, statuses(hostile_words))


@pytest.fixture(scope="module")
def folder(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("paper") / "appendix"
    write_appendix(run, read_audit(run), made)
    return made


def compiled(folder: Path, name: str) -> str:
    """Run pdfLaTeX twice; returns the log."""
    for _ in range(2):
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", f"{name}.tex"],
            cwd=folder,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=300,
            check=False,
        )
        log = (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        assert done.returncode == 0, log[-2000:]
    return log


def has_class(head: str) -> bool:
    """Whether this TeX has the class that a paper begins with."""
    found = re.search(r"\{([\w-]+)\}$", head)
    assert found is not None
    known = subprocess.run(["kpsewhich", f"{found[1]}.cls"], capture_output=True, text=True, check=False)
    return bool(known.stdout)


needs_tex = pytest.mark.skipif(bool(tex.missing()), reason="needs TeX")


@needs_tex
def test_it_is_a_document_with_embedded_fonts_and_no_line_too_wide(folder: Path) -> None:
    log = compiled(folder, NAME)
    assert "Overfull \\hbox" not in log
    assert "undefined references" not in log
    made = (folder / f"{NAME}.pdf").read_bytes()
    assert b"/FontFile" in made
    assert b"/Subtype /Image" not in made and b"/Subtype/Image" not in made


@needs_tex
@pytest.mark.parametrize("paper", PAPERS)
def test_a_paper_takes_it_in(paper: str, folder: Path) -> None:
    head = PAPERS[paper]
    head = next(h for h in (head, *ELSEWHERE) if has_class(h))
    (folder.parent / "paper.tex").write_text(PAPER % head)
    log = compiled(folder.parent, "paper")
    assert "Overfull \\hbox" not in log
    assert "Reference `audit:result'" not in log


def test_every_violation_that_weighs_and_every_verdict_stands_in_it(folder: Path, run: Path) -> None:
    text = (folder / "appendix.tex").read_text(encoding="utf-8")
    made = read_audit(run)
    assert text.isascii()
    assert text.count("\\auditrow{") == len(made["findings"])
    assert text.count("\\begin{auditfinding}") == sum(f["status"] == "violated" for f in made["findings"])
    for section in ("Result of the audit", "Method", "Findings that matter", "Claims and verdicts", "Detection power"):
        assert f"\\section{{{section}}}" in text
    assert "\\begin{thebibliography}" in text


def test_a_target_s_words_are_text_in_it(folder: Path) -> None:
    text = (folder / "appendix.tex").read_text(encoding="utf-8")
    for command in ("\\input{/etc", "\\write18{", "\\end{longtable}", "$\\frac{mark08}"):
        assert command not in text
    assert "mark01" in text


def test_letters_that_a_paper_s_fonts_lack_are_signs_or_numbers() -> None:
    assert in_ascii("a → b") == "a \\ensuremath{\\rightarrow} b"
    assert in_ascii("\u4e2d") == "\\textbackslash{}u4e2d"
    assert in_ascii("\U0001f600") == "\\textbackslash{}U0001f600"


def test_what_is_said_of_a_figure_is_plain() -> None:
    told = Told("x.y", "A caption of 50 % & more", "bars, one each: \\input{x}", [])
    shown = {"number": 1, "name": "x", "title": "X", "tally": "t", "file": "f.pdf", "config": ""}
    source = as_tex("figure.tex", b={**shown, "caption": told.caption, "alt": told.alt})
    assert "50 \\% \\&" in source
    assert "{bars; one each:  input x }" in source
