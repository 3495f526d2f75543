"""The one style of every figure: inks, sizes, and Okabe and Ito's palette, which colour-blind readers tell apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from coordexp_audit_lib.report.figure import show_figures

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, PURPLE, YELLOW = "#56B4E9", "#CC79A7", "#F0E442"
INK, DARK, DIM = "#1A1A1A", "#444444", "#6F6F6F"  # text and lines, from strong to faint
EDGE, RULE = "#888888", "#BBBBBB"  # around filled shapes, and behind them
GREY, LIGHT, PALE, WHITE = "#B0B0B0", "#D9D9D9", "#F2F2F2", "#FFFFFF"  # fills that mean nothing by themselves
TINTS = {BLUE: "#BFE0F5", ORANGE: "#F9DFA6", GREEN: "#CFE6D8", VERMILION: "#F2B79A", PURPLE: "#D9A3C4"}

# What a verdict looks like wherever one is drawn.
STATUS = {"held": GREEN, "violated": VERMILION, "unbound": GREY, "error": PURPLE}

CYCLE = (BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, YELLOW, GREY)
SMALL, NORMAL = 7.5, 9.0  # points


def plain() -> None:
    """From here on text of a figure is text: `$` in it, which may come from outside, is no formula; and a notebook that
    runs keeps figures as vectors."""
    import matplotlib as mpl

    mpl.rcParams["text.parse_math"] = False
    show_figures()


def spare(*axes: Any) -> None:
    """Leave out the lines above and to the right, which frame nothing."""
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)


def bare(*axes: Any) -> None:
    """Leave out every line around, and the marks of ticks: what is drawn says where it stands."""
    for axis in axes:
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)


def legend(owner: Any, *entries: Any, **look: Any) -> None:
    """A legend of axes or a figure, without a frame; `$` in its names, which may come from outside, is no formula."""
    for text in owner.legend(*entries, **{"fontsize": SMALL, "frameon": False, **look}).get_texts():
        text.set_parse_math(False)


def cells(axes: Any, values: Any, size: float = 1.0, **look: Any) -> Any:
    """A matrix as rectangles, its first row above: vectors, where `imshow` would draw a picture of pixels.

    Neighbours in a row that are alike are one rectangle, masked ones none. Returns what a colour bar is made of.

    Args:
        values: [rows, columns], masked or not. size: of a cell, along both axes. look: `cmap`, and `norm`, or `vmin`
        and `vmax`.
    """
    import numpy as np
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import Normalize

    table: Any = np.ma.masked_invalid(np.ma.asarray(values, dtype=float))
    filled = table.filled(np.nan)
    limits = (look.get("vmin", np.nanmin(filled)), look.get("vmax", np.nanmax(filled)))
    shades = ScalarMappable(look.get("norm") or Normalize(*limits), look["cmap"])
    shades.set_array(table)
    corners, inks = [], []
    for y, row in enumerate(filled):
        firsts = np.flatnonzero(np.diff(row, prepend=np.nan) != 0).tolist()
        for a, b in zip(firsts, [*firsts[1:], len(row)], strict=True):
            if not np.isnan(row[a]):
                left, right, top, bottom = a * size, b * size, y * size, (y + 1) * size
                corners.append([(left, top), (right, top), (right, bottom), (left, bottom)])
                inks.append(row[a])
    drawn = PolyCollection(corners, facecolors=shades.to_rgba(np.array(inks)), linewidths=0, antialiaseds=False)
    axes.add_collection(drawn)
    rows, columns = filled.shape
    axes.set(xlim=(0, columns * size), ylim=(rows * size, 0), aspect="equal")
    return shades


def colour_bar(figure: Any, shades: Any, **where: Any) -> Any:
    """A colour bar of vectors."""
    bar = figure.colorbar(shades, **where)
    bar.solids.set_rasterized(False)  # more than 50 shades would be pixels
    return bar


def save(figure: Any, stem: Path) -> None:
    """Write a figure as `stem.svg` and `stem.pdf`, the same bytes each time."""
    for suffix in (".svg", ".pdf"):
        write(figure, stem.with_suffix(suffix))


def write(figure: Any, path: Path) -> None:
    """Write a figure in the format that the file's name says (.svg, .pdf, .png), the same bytes each time."""
    import matplotlib

    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix, {})
    with matplotlib.rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(path, metadata=undated)
