"""A notebook's outputs made fit for the book: what a target said is text there, whatever it looks like.

The book's HTML and LaTeX of a table are made of the data that the output keeps; markup in an output is refused, as are
notebooks that would leave a page without its content.
"""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from coordexp_audit_lib.core.errors import AuditError
from coordexp_audit_lib.report import figure, tables
from coordexp_audit_lib.report.latex import named
from coordexp_audit_lib.report.text import printable, visible

IMAGES = ("image/png", "image/jpeg")
SAFE = frozenset(
    [
        "svg",
        "metadata",
        "defs",
        "style",
        "g",
        "path",
        "use",
        "clipPath",
        "rect",
        "image",
        "pattern",
        "text",
        "tspan",
        "title",
    ]
)  # what is drawn with
_SVG, _ABOUT = (
    "{http://www.w3.org/2000/svg}",
    re.compile(r"\{http://(www\.w3\.org/1999/02/22-rdf|creativecommons|purl)"),
)
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def clean(notebook: dict[str, Any], name: str, *, latex: bool = False) -> None:
    """Rewrite a notebook (nbformat 4, as builtins) in place for the book.

    Args:
        name: for errors. latex: for the PDF, whose fonts lack most scripts: such characters are named in streams.

    Raises:
        AuditError: an output is markup that is no table of ours, or the notebook lacks its title or its outputs.
    """
    check(notebook, name)
    kept = []
    for cell in notebook["cells"]:
        tags = cell.setdefault("metadata", {}).setdefault("tags", [])
        if any(tag.startswith("papermill-error") for tag in tags):
            continue  # papermill's banners are markup; the error itself stays on the page
        if cell["cell_type"] == "code":
            if not cell["outputs"]:
                continue  # it only prepares what others show
            tags.append("remove-input")
            cell["metadata"]["mystnb"] = _words(cell["outputs"])
            cell["outputs"] = [_output(o, name, latex) for o in cell["outputs"]]
        kept.append(cell)
    notebook["cells"] = kept


def _words(outputs: list[dict[str, Any]]) -> dict[str, Any]:
    """What a cell says of its figure: the caption as Markdown in which nothing is markup, and the alternative text."""
    for output in outputs:
        told = figure.read(output.get("metadata", {}))
        if told is not None:
            caption = re.sub(r"([^\w\s])", r"\\\1", visible(told.caption), flags=re.ASCII)
            return {"figure": {"caption": caption}, "image": {"alt": visible(told.alt)}}
    return {}


def check(notebook: dict[str, Any], name: str) -> None:
    """Refuse a notebook that would drop out of the navigation or show nothing.

    Raises:
        AuditError: no level-1 heading comes first, or no code cell has an output, or one was never executed.
    """
    cells = [c for c in notebook["cells"] if not _banner(c)]
    first = _source(cells[0]) if cells else ""
    if not (cells and cells[0]["cell_type"] == "markdown" and re.match(r"# \S", first)):
        remedy = "begin the notebook with a Markdown cell `# Title`"
        raise AuditError(
            "it has no level-1 heading, so the book's navigation would leave it out", where=name, remedy=remedy
        )
    code = [c for c in cells if c["cell_type"] == "code" and _source(c).strip()]
    if not any(c["outputs"] for c in code):
        raise AuditError("its outputs were stripped", where=name, remedy="execute it again with `coordexp-audit run`")
    if all(c.get("execution_count") is None for c in code):
        raise AuditError("it was never executed", where=name, remedy="execute it again with `coordexp-audit run`")


def _banner(cell: dict[str, Any]) -> bool:
    return any(t.startswith("papermill-error") for t in cell.get("metadata", {}).get("tags", []))


def _source(cell: dict[str, Any]) -> str:
    """A cell's text; nbformat allows a list of lines."""
    return _joined(cell["source"])


def _joined(text: Any) -> str:
    return "".join(text) if isinstance(text, list) else str(text)


def _output(output: dict[str, Any], name: str, latex: bool) -> dict[str, Any]:
    kind = output["output_type"]
    if kind == "stream":
        return {**output, "text": _plain(output["text"], latex)}
    if kind == "error":
        # As a stream: what an exception says comes from the target, and error outputs are coloured by ANSI codes.
        text = f"{output['ename']}: {_joined(output['evalue'])}"
        return {"output_type": "stream", "name": "stdout", "text": _plain(text, latex)}
    return {**output, "data": _data(output["data"], name, latex), "metadata": {}}


def _data(data: dict[str, Any], name: str, latex: bool) -> dict[str, Any]:
    if latex and figure.PDF in data:
        return {figure.PDF: _joined(data[figure.PDF]), "text/plain": "figure"}
    if figure.SVG in data:
        drawing = _joined(data[figure.SVG])
        _drawn(drawing, name)
        return {"text/plain": "figure"} if latex else {figure.SVG: drawing, "text/plain": "figure"}
    images = {kind: data[kind] for kind in IMAGES if kind in data}
    if images:
        return {**images, "text/plain": "figure"}
    if tables.RESOURCE in data:
        try:
            frame = tables.from_bundle(data[tables.RESOURCE])
        except ValueError as error:
            remedy = "execute the notebook again"
            raise AuditError(f"an output is no table of data: {error}", where=name, remedy=remedy) from error
        told = {"text/latex": tables.to_latex(frame)} if latex else {"text/html": tables.to_html(frame)}
        return {**told, "text/plain": "table"}
    if "text/html" in data:
        remedy = "show a DataFrame after `coordexp_audit_lib.report.tables.show_frames()`, which keeps it as data"
        raise AuditError("an output is HTML, which the book does not take over", where=name, remedy=remedy)
    if "text/plain" in data:
        return {"text/plain": _plain(data["text/plain"], latex)}
    raise AuditError(
        f"an output is {', '.join(sorted(data)) or 'empty'}, which the book does not show",
        where=name,
        remedy="print text, show a figure of matplotlib, or show a DataFrame",
    )


def _drawn(svg: str, name: str) -> None:
    """Refuse a drawing that holds more than lines, fills and letters: a script, a link, a page, another file."""
    try:
        elements = list(ElementTree.fromstring(svg).iter())
    except ElementTree.ParseError as error:
        raise AuditError(f"an output is no SVG: {error}", where=name, remedy="draw it with matplotlib") from error
    for e in elements:
        about = _ABOUT.match(e.tag)
        leads = [v for k, v in e.attrib.items() if k.endswith("href") and not v.startswith(("#", "data:image/png;"))]
        acts = [k for k in e.attrib if k.startswith("on")]
        if not about and (e.tag.removeprefix(_SVG) not in SAFE or leads or acts):
            what = f"an output's SVG has {e.tag.rpartition('}')[2]} {' '.join([*leads, *acts])}".rstrip()
            raise AuditError(what, where=name, remedy="draw it with matplotlib")


def _plain(text: Any, latex: bool) -> str:
    """Text without colour codes and unseen characters."""
    plain = printable(_ANSI.sub("", _joined(text)))
    return named(plain) if latex else plain
