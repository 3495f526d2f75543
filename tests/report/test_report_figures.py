"""Figures: what goes along with each, that it can be drawn again, and what is refused as one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.errors import AuditError
from coordexp_audit_lib.report import figure, style
from coordexp_audit_lib.report.outputs import clean

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def kept(drawn: Any) -> dict[str, Any]:
    data, metadata = figure._bundle(drawn)
    return {"output_type": "display_data", "data": data, "metadata": metadata}


def page(output: dict[str, Any]) -> dict[str, Any]:
    code = {"cell_type": "code", "source": "x", "metadata": {}, "execution_count": 1, "outputs": [output]}
    return {"cells": [{"cell_type": "markdown", "source": "# T", "metadata": {}}, code], "metadata": {}}


@pytest.fixture
def drawn() -> Any:
    from coordexp_audit_lib.boundaries.coordjson.figures import draw_spans

    return draw_spans({"text": "{a}", "parts": ["outside"] * 3})


def test_a_figure_takes_its_words_and_data_along_and_is_drawn_again_alike(drawn: Any) -> None:
    output = kept(drawn)
    told = figure.read(output["metadata"])
    assert told is not None
    assert told.caption and told.alt and told.arguments == [{"text": "{a}", "parts": ["outside"] * 3}]
    again = figure.drawings()[told.name](*told.arguments)
    assert figure.svg(again) == output["data"]["image/svg+xml"]
    assert figure.printed(told).startswith(b"%PDF")


def test_the_book_shows_the_caption_and_says_what_is_drawn(drawn: Any) -> None:
    notebook = page(kept(drawn))
    clean(notebook, "n")
    cell = notebook["cells"][1]
    assert set(cell["outputs"][0]["data"]) == {"image/svg+xml", "text/plain"}
    assert cell["metadata"]["mystnb"]["image"]["alt"] == drawn.told.alt
    assert cell["metadata"]["mystnb"]["figure"]["caption"].replace("\\", "") == drawn.told.caption


def test_a_caption_is_no_markup(drawn: Any) -> None:
    drawn.told = figure.Told("coordjson.spans", "`{raw} x` <b> [a](b) $x$", "a", None)
    notebook = page(kept(drawn))
    clean(notebook, "n")
    caption = notebook["cells"][1]["metadata"]["mystnb"]["figure"]["caption"]
    assert caption == r"\`\{raw\} x\` \<b\> \[a\]\(b\) \$x\$"


@pytest.mark.parametrize(
    "inside",
    [
        "<script>alert(1)</script>",
        '<a href="http://example.invalid"><path/></a>',
        '<image href="http://example.invalid/x.png"/>',
        '<path onload="alert(1)"/>',
        "<foreignObject/>",
    ],
)
def test_a_drawing_that_does_more_than_draw_is_refused(inside: str) -> None:
    svg = f'<svg xmlns="http://www.w3.org/2000/svg">{inside}</svg>'
    notebook = page({"output_type": "display_data", "data": {"image/svg+xml": svg}, "metadata": {}})
    with pytest.raises(AuditError, match="an output's SVG has"):
        clean(notebook, "n")
    broken = page({"output_type": "display_data", "data": {"image/svg+xml": "x"}, "metadata": {}})
    with pytest.raises(AuditError, match="is no SVG"):
        clean(broken, "n")


def test_a_name_is_declared_once() -> None:
    with pytest.raises(AuditError, match="declared twice"):
        figure.figure("coordjson.spans", "a", "b")(lambda data: None)


def test_every_boundary_has_figures_and_one_of_them_stands_for_it() -> None:
    from coordexp_audit_lib.report.appendix import figures_of

    boundaries.load(rooms=("figures",))
    for b in boundaries.BOUNDARIES:
        shown = [told for told, _ in figures_of(NOTEBOOKS / b.notebook)]
        assert [told.main for told in shown].count(True) >= 1, b.name
        for told in shown:
            assert told.name in figure.drawings()
            assert len(told.caption) > 40 and len(told.alt) > 20, told.name
            assert told.caption != told.alt


def test_figures_in_print_are_vectors() -> None:
    """Of each boundary every figure: lines, fills and letters, and no picture of pixels."""
    from coordexp_audit_lib.report.appendix import figures_of

    boundaries.load(rooms=("figures",))
    for b in boundaries.BOUNDARIES:
        shown = [told for told, _ in figures_of(NOTEBOOKS / b.notebook)]
        assert shown
        for told in shown:
            made = figure.printed(told)
            assert b"/Subtype /Image" not in made, told.name
            assert b"/FontFile2" in made, told.name


def test_no_figure_of_a_published_page_is_of_pixels_or_bears_the_time_of_its_drawing() -> None:
    for page in sorted(NOTEBOOKS.glob("*.ipynb")):
        text = page.read_text(encoding="utf-8")
        assert "image/svg+xml" in text, page.name
        for mark in ("<dc:date>", "<image ", "image/png"):
            assert mark not in text, f"{page.name} has {mark}"


def test_cells_are_rectangles_one_for_neighbours_that_are_alike() -> None:
    import matplotlib
    import numpy as np

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    axes = plt.figure().add_subplot()
    style.cells(axes, np.ma.masked_equal([[1, 1, 0, 2], [0, 0, 3, 3]], 0), cmap="Blues")
    (shapes,) = axes.collections
    corners = [path.get_extents().extents.tolist() for path in shapes.get_paths()]
    assert corners == [[0, 0, 2, 1], [3, 0, 4, 1], [2, 1, 4, 2]]
    assert axes.get_ylim() == (2, 0)
