"""End to end: a book of hostile notebooks and findings, in which every hostile word comes out as text."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import unicodedata
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib.core.errors import AuditError
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.report import tex
from coordexp_audit_lib.report.book import build_book
from coordexp_audit_lib.report.latex import named
from coordexp_audit_lib.report.text import printable, visible

PLAIN = ("mark01 plain", "mark02 plain")
PAGES = ("findings", "pages/06_packing", "pages/02_config.stage2_ab-prod-ab_mixed")
REMOTE = re.compile(r"^(?:[a-z]+:)?//", re.I)


class Page(HTMLParser):
    """A page's tags with their attributes, and its article's text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        else:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        """Tags and the names of their attributes, less those that highlighting and wide tables make of any text."""
        neutral = {("span", ("class",)), ("span", ()), ("wbr", ()), ("colgroup", ()), ("col", ("style",))}
        return sorted({(tag, tuple(sorted(a))) for tag, a in self.tags} - neutral)


@pytest.fixture(scope="module")
def books(
    tmp_path_factory: pytest.TempPathFactory,
    statuses: Callable[..., list[Finding]],
    make_run: Callable[[Path, Sequence[str], Sequence[Finding]], Path],
    hostile_words: tuple[str, ...],
) -> dict[str, dict[str, Path]]:
    """One book of harmless words (HTML), one of hostile words (HTML and LaTeX, and a PDF where TeX is installed)."""
    folder = tmp_path_factory.mktemp("books")
    plain = make_run(folder / "plain", PLAIN, statuses(PLAIN))
    hostile = make_run(folder / "hostile", hostile_words, statuses(hostile_words))
    return {"plain": build_book(plain, ("html",)), "hostile": build_book(hostile)}


def pages(book: dict[str, Path]) -> dict[str, Page]:
    return {name: Page(book["html"].parent / f"{name}.html") for name in PAGES}


@pytest.mark.parametrize("name", PAGES)
def test_hostile_words_add_no_element_attribute_or_script(books: dict[str, dict[str, Path]], name: str) -> None:
    """The page of hostile words has the elements that the page of harmless words has, and no others."""
    plain, hostile = pages(books["plain"])[name], pages(books["hostile"])[name]
    assert set(hostile.shape()) <= set(plain.shape())
    assert len(hostile.scripts) == len(plain.scripts)
    assert not any("mark" in script for script in hostile.scripts)
    assert not [a for _, a in hostile.tags if any(key.startswith("on") for key in a)]
    links = [a.get("href") or a.get("src") or "" for _, a in hostile.tags]
    assert not [link for link in links if "example.invalid" in link or link.startswith("javascript")]


def test_hostile_words_are_there_as_text(books: dict[str, dict[str, Path]], hostile_words: tuple[str, ...]) -> None:
    seen = pages(books["hostile"])
    for name in PAGES:
        for word in hostile_words:
            assert visible(word) in seen[name].text, (name, word)
    streams = seen[PAGES[1]].text
    for word in hostile_words:
        if "\x1b[" not in word:  # a stream's colours are dropped, as a terminal would not show them either
            assert all(line.rstrip() in streams for line in printable(word).split("\n")), word
    assert "\x1b" not in streams
    assert "\u202e" not in streams


def test_no_page_asks_for_anything_from_the_net(books: dict[str, dict[str, Path]]) -> None:
    files = sorted(books["hostile"]["html"].parent.rglob("*.html"))
    assert len(files) >= 8
    asked = [
        (file.name, tag, value)
        for file in files
        for tag, attributes in Page(file).tags
        for value in (attributes.get("src"), attributes.get("href") if tag == "link" else None)
        if value and REMOTE.match(value)
    ]
    assert asked == []
    sheets = [p for p in books["hostile"]["html"].parent.rglob("*.css") if p.name != "bootstrap.min.css"]
    assert not [
        p for p in sheets if re.search(r"url\(\s*['\"]?https?:", p.read_text(encoding="utf-8", errors="replace"))
    ]


def test_navigation_lists_every_chapter(books: dict[str, dict[str, Path]]) -> None:
    hrefs = [a.get("href") for tag, a in Page(books["hostile"]["html"].parent / "intro.html").tags if tag == "a"]
    for entry in (
        "method.html",
        "findings.html",
        "pages/02_config.stage2_ab-prod-ab_mixed.html",
        "pages/06_packing.html",
    ):
        assert entry in hrefs


def test_latex_has_no_command_of_the_target(books: dict[str, dict[str, Path]]) -> None:
    text = books["hostile"]["tex"].read_text(encoding="utf-8")
    body = text.split(r"\begin{document}", 1)[1]
    assert "mark09" in body
    for command in (r"\input{/etc", r"\write18", r"\frac{mark", r"\end{longtable} \end", "\x1b", "\u202e"):
        assert command not in body
    assert body.count(r"\begin{longtable}") == body.count(r"\end{longtable}") >= 4
    assert r"\includegraphics{{x}" not in body


@pytest.mark.skipif(bool(tex.missing()) or not shutil.which("pdftotext"), reason="needs TeX and pdftotext")
def test_pdf_shows_the_words(books: dict[str, dict[str, Path]], hostile_words: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["pdftotext", "-raw", str(books["hostile"]["pdf"]), "-"], capture_output=True, text=True, check=True
    )
    printed = re.sub(r"\s+", "", unicodedata.normalize("NFC", done.stdout))
    for word in hostile_words:
        expected = re.sub(r"\s+", "", unicodedata.normalize("NFC", named(visible(word))))
        assert expected in printed, word
    log = books["hostile"]["tex"].with_suffix(".log").read_text(encoding="utf-8", errors="replace")
    assert "Missing character" not in log


@pytest.mark.skipif(bool(tex.missing()), reason="needs TeX")
def test_the_pdf_is_the_same_byte_for_byte(books: dict[str, dict[str, Path]], tmp_path: Path) -> None:
    first = books["hostile"]["pdf"]
    copy = tmp_path / "latex"
    shutil.copytree(
        first.parent, copy, ignore=shutil.ignore_patterns(first.name, "*.aux", "*.toc", "*.fdb_latexmk", "*.xdv")
    )
    epoch = 1771545600  # 2026-02-20, the date of the audited commit
    assert tex.make_pdf(copy, "audit", epoch).read_bytes() == first.read_bytes()


def test_an_output_that_is_markup_fails_the_build(
    books: dict[str, dict[str, Path]], tmp_path: Path, make_run: Any, statuses: Any
) -> None:
    run = make_run(tmp_path / "run", PLAIN, statuses(PLAIN))
    path = run / "notebooks" / "06_packing.stage1-ablation-geometry_first_coco80.ipynb"
    notebook = json.loads(path.read_text())
    notebook["cells"][2]["outputs"][2]["data"] = {"text/html": "<b>bold</b>"}
    path.write_text(json.dumps(notebook))
    with pytest.raises(AuditError, match=r"06_packing\.ipynb: an output is HTML, which") as caught:
        build_book(run, ("html",))
    assert "DataFrame" in str(caught.value)


def test_no_link_inside_the_book_is_dead(books: dict[str, dict[str, Path]]) -> None:
    """Every link to a page and to an element of one, findings and claims included, both ways."""
    root = books["plain"]["html"].parent
    pages_ = (path for path in root.rglob("*.html") if "_static" not in path.parts)  # there the theme keeps templates
    read = {path: path.read_text(encoding="utf-8") for path in pages_}
    known = {path: set(re.findall(r'\b(?:id|name)="([^"]+)"', text)) for path, text in read.items()}
    dead = []
    for path, text in read.items():
        for link in set(re.findall(r'href="([^"]*)"', text)):
            place, _, anchor = html.unescape(link).partition("#")
            if re.match(r"[a-z]+:", place) or place.startswith("//"):
                continue
            target = (path.parent / place.partition("?")[0]).resolve() if place else path
            if not target.exists() or (anchor and target in known and anchor not in known[target]):
                dead.append((path.relative_to(root).as_posix(), link))
    assert dead == []
    findings = read[root / "findings.html"]
    for anchor in re.findall(r'<article class="finding" id="([^"]+)"', findings):
        name = anchor.removeprefix("finding-")
        assert f'href="claims/{name}.html"' in findings
        assert f'href="../findings.html#{anchor}"' in read[root / "claims" / f"{name}.html"]


def test_images_say_what_they_show(books: dict[str, dict[str, Path]]) -> None:
    """Each picture of a page has words for those who do not see it."""
    for path in books["plain"]["html"].parent.rglob("*.html"):
        for tag, attributes in Page(path).tags:
            if tag == "img" and "_static" not in path.parts:
                assert attributes.get("alt"), (path.name, attributes)
