"""A notebook's outputs made fit for the book: what a target said is text there, whatever it looks like.

The book's HTML and LaTeX of a table are made of the data that the output keeps; markup in an output is refused, as are
notebooks that would leave a page without its content.
"""

from __future__ import annotations

import re
from typing import Any

from coordexp_audit_lib.core.errors import AuditError
from coordexp_audit_lib.report import tables
from coordexp_audit_lib.report.latex import named
from coordexp_audit_lib.report.text import printable

IMAGES = ("image/png", "image/jpeg")
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
            tags.append("remove-input" if "injected-parameters" in tags else "hide-input")
            cell["outputs"] = [_output(o, name, latex) for o in cell["outputs"]]
        kept.append(cell)
    notebook["cells"] = kept


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
    images = {kind: data[kind] for kind in IMAGES if kind in data}
    if images:
        return {**images, "text/plain": "figure"}
    if tables.RESOURCE in data:
        try:
            frame = tables.from_bundle(data[tables.RESOURCE])
        except ValueError as error:
            remedy = "execute the notebook again"
            raise AuditError(f"an output is no table of data: {error}", where=name, remedy=remedy) from error
        told = {"text/html": tables.to_html(frame), "text/latex": tables.to_latex(frame)}
        return {**told, "text/plain": _plain(tables.plain(frame), latex)}
    if "text/html" in data:
        remedy = "show a DataFrame after `coordexp_audit_lib.report.tables.show_frames()`, which keeps it as data"
        raise AuditError("an output is HTML, which the book does not take over", where=name, remedy=remedy)
    if "text/plain" in data:
        return {"text/plain": _plain(data["text/plain"], latex)}
    raise AuditError(
        f"an output is {', '.join(sorted(data)) or 'empty'}, which the book does not show",
        where=name,
        remedy="print text, show a figure as PNG, or show a DataFrame",
    )


def _plain(text: Any, latex: bool) -> str:
    """Text without colour codes and unseen characters."""
    plain = printable(_ANSI.sub("", _joined(text)))
    return named(plain) if latex else plain
