"""What the book's Sphinx adds: outputs are cleaned before they are parsed, tables reach LaTeX as tables, and formulas
are MathML. In HTML the prose's tables look like all others, and code in it breaks where a name may.

Named in `_config.yml`, so that a plain `jupyter-book build` is as safe as `coordexp-audit book`.
"""

from __future__ import annotations

import json
import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.transforms import SphinxTransform
from sphinx.writers.html5 import HTML5Translator as HTMLTranslator

from coordexp_audit_lib.core.errors import AuditError
from coordexp_audit_lib.report.outputs import clean
from coordexp_audit_lib.report.text import BREAK


def _clean_source(app: Sphinx, docname: str, content: list[str]) -> None:
    if not str(app.env.doc2path(docname)).endswith(".ipynb"):
        return
    notebook = json.loads(content[0])
    try:
        clean(notebook, f"{docname}.ipynb", latex=app.builder.format == "latex")
    except AuditError as error:
        raise ExtensionError(str(error)) from error
    content[0] = json.dumps(notebook)


class TablesAreNoMath(SphinxTransform):
    """myst-nb takes every `text/latex` output for a formula; ours are tables, and all of them are.

    It must run while the page is read: a formula would make the HTML page load MathJax from the net.
    """

    default_priority = 100

    def apply(self, **_: Any) -> None:
        for block in list(self.document.findall(nodes.math_block)):
            if "text_latex" in block["classes"]:
                block.replace_self(nodes.raw("", block.astext(), format="latex"))


class TablesOfOneStyle(SphinxTransform):
    """A table of the prose is one of the audit's: on a narrow screen its rows are cards, and in print its columns share
    the line by what stands in them."""

    default_priority = 100

    def apply(self, **_: Any) -> None:
        for table in self.document.findall(nodes.table):
            table["classes"] += ["audit", "colwidths-given"]
            columns: dict[int, list[str]] = {}
            for row in table.findall(nodes.row):
                for n, entry in enumerate(row.findall(nodes.entry)):
                    columns.setdefault(n, []).append(entry.astext())
            for n, spec in enumerate(table.findall(nodes.colspec)):
                cells = columns.get(n, [""])
                word = max((len(w) for c in cells for w in c.split()), default=0)
                line = max(map(len, cells))
                spec["colwidth"] = max(word + 3, min(line, 12 + int(2 * line**0.5)))


_CODE = re.compile(r"<pre\b.*?</pre>|(?P<code><code\b.*?</code>)", re.DOTALL)
_TEXT = re.compile(r"(?<=>)[^<]+")


def breaking(body: str) -> str:
    """A page in which code within a sentence goes on in the next line after the punctuation of a path or a name."""
    return _CODE.sub(lambda c: _TEXT.sub(_breaks, c["code"]) if c["code"] else c.group(), body)


def _breaks(text: re.Match[str]) -> str:
    return BREAK.sub(r"\1<wbr>", text.group())


def _page(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    if "body" in context:
        context["body"] = breaking(context["body"])


def _inline_formula(self: HTMLTranslator, node: nodes.Element) -> None:
    _formula(self, node, "inline")


def _displayed_formula(self: HTMLTranslator, node: nodes.Element) -> None:
    _formula(self, node, "block")


def _formula(translator: HTMLTranslator, node: nodes.Element, display: str) -> None:
    """MathML, which browsers draw without a script."""
    from latex2mathml.converter import convert

    translator.body.append(convert(node.astext(), display=display))
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    if "comments_config" not in app.config:  # jupyter-book sets it even where its extension is not loaded
        app.add_config_value("comments_config", {}, "env", dict)
    app.add_html_math_renderer("mathml", (_inline_formula, None), (_displayed_formula, None))
    app.connect("source-read", _clean_source)
    app.connect("html-page-context", _page)
    app.add_transform(TablesAreNoMath)
    app.add_transform(TablesOfOneStyle)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
