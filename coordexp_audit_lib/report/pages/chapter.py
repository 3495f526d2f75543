"""A boundary's notebook as a chapter: the book says what was found, and how to run the page again."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.report import figure
from coordexp_audit_lib.report.pages import facts
from coordexp_audit_lib.report.pages.pages import both, found_blocks, page

TOLD = "told-by-the-book"  # a cell's tag: the book's own pages say the same, with links


def dressed(
    notebook: Mapping[str, Any], made: Mapping[str, Any], name: str, config: str, *, depends: bool, printed: bool
) -> str:
    """The notebook's JSON with what was found behind its first cell.

    Args:
        notebook: nbformat 4, as builtins. made: the document. name: the boundary's. depends: whether the page is about
            its config, or one of any.
        printed: whether figures are drawn for print, too.
    """
    found = facts.of_page(made, name, config, depends)
    told = _markdown(found_blocks(made, found, config if depends else ""))
    again = _markdown(page("## Run this page again", both("recipe", lines=[rerun(made, name, config)])))
    kept = shown(notebook, printed)["cells"]
    return json.dumps({**notebook, "cells": [*kept[:1], told, *kept[1:], again]}, indent=1) + "\n"


def shown(notebook: Mapping[str, Any], printed: bool) -> dict[str, Any]:
    """The notebook without what the book says itself; where wanted, a figure for print beside that for the screen."""
    kept = [c for c in notebook["cells"] if TOLD not in c.get("metadata", {}).get("tags", [])]
    for output in (o for c in kept for o in c.get("outputs", [])):
        told = figure.read(output.get("metadata", {}))
        if printed and told is not None and told.arguments is not None:
            output["data"][figure.PDF] = base64.b64encode(figure.printed(told)).decode("ascii")
    return {**notebook, "cells": kept}


def rerun(made: Mapping[str, Any], name: str, config: str) -> str:
    """The command that runs one boundary's notebook."""
    target = made["target"]
    named = target["name"] if target["kind"] in ("recording", "reference") else "CHECKOUT -p python INTERPRETER"
    about = f" -p config {config}" if config else ""
    return f"papermill notebooks/{boundaries.boundary(name).notebook} out.ipynb -p target {named}{about}"


def _markdown(source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": source}
