"""Templates of pages: whatever a target said is escaped by the environment, for HTML or for LaTeX, never by a "
"template."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from coordexp_audit_lib.report.latex import escape as latex_escape
from coordexp_audit_lib.report.sources import PACKAGE
from coordexp_audit_lib.report.text import breakable, visible

_FENCE = "`" * 12
_URL = re.compile(r"[#%&_~^\\{}$]")  # what \href takes with a backslash, or not at all


def _quoted(found: re.Match[str]) -> str:
    return f"\\{found.group()}" if found.group() in "#%&_" else f"%{ord(found.group()):02X}"


def broken(value: Any) -> Markup:
    """A value of a template as HTML that may break where `breakable` lets it."""
    return Markup(breakable(visible(value)))


def anchor(name: str) -> str:
    """A name as an id of an element."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)


class Tex(str):
    """Text that is LaTeX already."""


def tex(value: Any) -> str:
    """A value of a template as LaTeX: escaped, unless it is LaTeX."""
    return value if isinstance(value, Tex) else latex_escape(visible(value))


def words(text: str) -> Tex:
    """What is said of a figure, as tags of a PDF take it: letters, digits and plain punctuation, but no comma."""
    return Tex(re.sub(r"[^A-Za-z0-9 ;:.()/+-]", " ", text.replace("×", "x").replace(",", ";")))


@cache
def _html() -> Environment:
    made = _environment(autoescape=True)
    made.filters |= {"broken": broken, "anchor": anchor}
    return made


@cache
def _tex() -> Environment:
    made = _environment(
        finalize=tex,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
    )
    made.filters |= {
        "anchor": lambda name: Tex(anchor(name)),
        "raw": Tex,
        "words": words,
        "url": lambda to: Tex(_URL.sub(_quoted, to)),
    }
    return made


def _environment(**how: Any) -> Environment:
    loader = FileSystemLoader(PACKAGE / "resources" / "pages")
    return Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, **how)


def as_html(template: str, **values: Any) -> str:
    """A template filled in as HTML."""
    return _html().get_template(template).render(values)


def as_tex(template: str, **values: Any) -> str:
    """A template filled in as LaTeX."""
    return _tex().get_template(template).render(values)


def raw(kind: str, text: str) -> str:
    """A block of HTML or LaTeX in a page of Markdown; nothing in the text can end it."""
    if kind == "html":
        text = "\n".join(line for line in text.replace("`", "&#96;").splitlines() if line.strip())
    return f"{_FENCE}{{raw}} {kind}\n{text}\n{_FENCE}"


__all__ = ["Tex", "anchor", "as_html", "as_tex", "broken", "raw"]
