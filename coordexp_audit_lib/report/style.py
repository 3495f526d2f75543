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
