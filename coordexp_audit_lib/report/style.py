"""The one style of every figure: inks, sizes, and Okabe and Ito's palette, which colour-blind readers tell apart."""

from __future__ import annotations

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
