"""One HTML file of a whole book, to mail or to keep: every page in order, styles and pictures inside, no script."""

from __future__ import annotations

import base64
import html
import mimetypes
import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from urllib.parse import unquote

from bs4 import BeautifulSoup, Tag

from coordexp_audit_lib.core.errors import AuditError
from coordexp_audit_lib.core.folder import write_atomically

NAME = "audit.html"  # in the book's folder
_URL = re.compile(r"url\(\s*['\"]?([^'\")]+)['\"]?\s*\)")
_IMPORT = re.compile(r"@import[^;]+;")
STYLE = """
body { display: block; }
main.single { max-width: 60rem; margin: 0 auto; padding: 1rem; }
main.single > section { border-top: 1px solid #888; padding-top: 1rem; }
main.single .headerlink, main.single .prev-next-area { display: none; }
"""
PAGE = Template("""<!DOCTYPE html>
<html lang="en" data-theme="light">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$styles</style>
</head>
<body>
<main class="single"><nav aria-label="Contents"><ol>$entries</ol></nav>
$body
</main>
</body>
</html>
""")


def single_file(pages: Path, out: Path) -> Path:
    """Write the book in `pages`, whose first page is `index.html`, as one file.

    Raises:
        AuditError: a page or a picture of it is not there.
    """
    first = _parsed(pages / "index.html")
    names = _order(first, pages)
    parsed = {name: first if name == "index.html" else _parsed(pages / name) for name in names}
    title = html.escape(first.title.get_text(strip=True) if first.title else "Audit")
    entries = "".join(f'<li><a href="#{_id(name, "")}">{_heading(page)}</a></li>' for name, page in parsed.items())
    sections = [
        f'<section id="{_id(n, "")}">{_article(page, n, parsed, pages)}</section>' for n, page in parsed.items()
    ]
    told = {"title": title, "styles": _styles(first, pages) + STYLE, "entries": entries, "body": "\n".join(sections)}
    text = PAGE.substitute(told)
    write_atomically(out, text)
    return out


def _parsed(path: Path) -> BeautifulSoup:
    try:
        return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    except OSError as error:
        raise AuditError("the book lacks this page", where=str(path), remedy="build the book again") from error


def _order(first: BeautifulSoup, pages: Path) -> list[str]:
    """The pages as the navigation has them, then the others."""
    linked = [str(a["href"]).partition("#")[0] for a in first.select("nav a.reference.internal[href]")]
    others = sorted(p.relative_to(pages).as_posix() for p in pages.rglob("*.html"))
    left_out = ("search.html", "genindex.html", "py-modindex.html")
    known = [n for n in dict.fromkeys(["index.html", *linked, *others]) if (pages / n).is_file() and n not in left_out]
    return [n for n in known if not n.startswith("_static/") and _is_page(pages / n)]


def _is_page(path: Path) -> bool:
    """Whether a file is a page of its own, and no forwarding to one."""
    return '<article class="bd-article' in path.read_text(encoding="utf-8")


def _heading(page: BeautifulSoup) -> str:
    found = page.select_one("article h1")
    return html.escape(found.get_text(strip=True).removesuffix("#")) if found else "-"


def _id(page: str, anchor: str) -> str:
    """An anchor of a page, which in one file has to differ from the same one of another page."""
    slug = re.sub(r"[^0-9A-Za-z]+", "-", page.removesuffix(".html"))
    return f"{slug}--{anchor}" if anchor else f"page-{slug}"


def _article(page: BeautifulSoup, name: str, pages_: Mapping[str, BeautifulSoup], folder: Path) -> str:
    """A page's own content with anchors, links and pictures that hold inside one file."""
    article = page.select_one("article.bd-article")
    if article is None:
        raise AuditError("the page has no article", where=name, remedy="build the book again")
    for script in article.select("script, link"):
        script.decompose()
    for tag in article.select("[id]"):
        tag["id"] = _id(name, str(tag["id"]))
    for tag in article.select("a[href]"):
        tag["href"] = _link(str(tag["href"]), name, pages_)
    for tag in article.select("[aria-labelledby]"):
        tag["aria-labelledby"] = _id(name, str(tag["aria-labelledby"]))
    for tag in article.select("img[src], source[src]"):
        tag["src"] = _data(folder / Path(name).parent / unquote(str(tag["src"])))
    for tag in article.select("object[data]"):
        tag["data"] = _data(folder / Path(name).parent / unquote(str(tag["data"])))
    return article.decode_contents() if isinstance(article, Tag) else ""


def _link(href: str, name: str, pages_: Mapping[str, BeautifulSoup]) -> str:
    if re.match(r"[a-z][a-z0-9+.-]*:", href, re.I):
        return href
    place, _, anchor = href.partition("#")
    parts: list[str] = []
    for part in [*Path(name).parent.parts, *Path(unquote(place)).parts] if place else Path(name).parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    target = "/".join(parts)
    return f"#{_id(target, unquote(anchor))}" if target in pages_ else "#"


def _data(path: Path) -> str:
    """A file as a `data:` address."""
    if str(path).partition("data:")[1]:
        return "data:" + str(path).partition("data:")[2]
    try:
        made = base64.b64encode(path.resolve().read_bytes()).decode()
    except OSError as error:
        raise AuditError("the book lacks this picture", where=str(path), remedy="build the book again") from error
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{made}"


def _styles(first: BeautifulSoup, pages: Path) -> str:
    """The book's style sheets as one text, with what they name inside, less fonts of icons."""
    texts = []
    for link in first.select('link[rel~="stylesheet"][href]'):
        sheet = pages / str(link["href"]).partition("?")[0]
        if not sheet.is_file() or "fontawesome" in sheet.as_posix():
            continue
        text = _IMPORT.sub("", sheet.read_text(encoding="utf-8"))
        texts.append(_URL.sub(lambda m, at=sheet.parent: _inside(m[1], at), text))  # type: ignore[misc]
    return "\n".join(texts).replace("</style", "<\\/style")


def _inside(address: str, folder: Path) -> str:
    """What a style sheet names, inside it: pictures; a font is left to the reader's own."""
    path = folder / unquote(address.partition("?")[0].partition("#")[0])
    if address.startswith("data:"):
        return f"url({address})"
    fits = path.is_file() and path.suffix in (".svg", ".png", ".jpg", ".gif")
    return f"url({_data(path)})" if fits else "none"
