"""The figure of the isolation matrix: which calls keep packed samples apart, release by release."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from coordexp_audit_lib.boundaries.packing.artifact.isolation import VERDICTS, Facts
from coordexp_audit_lib.kit.isolation import APART, ATTENTIONS, MIXED, OTHER, REFUSED, TOLD
from coordexp_audit_lib.kit.tiny import FAMILIES
from coordexp_audit_lib.kit.tiny_pack import CONTENTS, MASKS, POSITIONS
from coordexp_audit_lib.report.style import BLUE, DARK, DIM, INK, LIGHT, ORANGE, SMALL, VERMILION, WHITE, bare, legend

COLOURS = {APART: BLUE, OTHER: ORANGE, MIXED: VERMILION, REFUSED: LIGHT}
SIGNS = {
    APART: ("", WHITE),
    OTHER: (".", INK),
    MIXED: ("x", WHITE),
    REFUSED: ("_", DARK),
}  # of the marker, with its ink
MEANING = {
    APART: "apart, as unpacked",
    OTHER: "apart, not as unpacked",
    MIXED: "samples see each other",
    REFUSED: "refused",
}
TITLES = {"qwen3_vl": "Qwen3-VL", "qwen2_5_vl": "Qwen2.5-VL", "pictures": "with pictures", "text": "text alone"}
KERNELS = {"varlen": "flash", TOLD: "flash, told\ncu_seq_lens"}
HEADS = {"none": "none", "text": "2-D", "three": "3 rows", "four": "4 rows", "copied": "4, copied"}
SHADES = {"none": "no mask", "ones": "ones", "numbers": "numbers", "block": "block"}
HEIGHT, NEAR, FAR = 0.9, 0.03, 0.13  # of a cell: its height, and what is left free within a pair and between pairs


def matrix(known: Sequence[Facts]) -> dict[str, Any]:
    """The figure's data: for each panel and call the verdict under each release, the oldest first."""
    ordered = sorted(known, key=lambda f: [int(n) for n in f.transformers.split(".") if n.isdecimal()])
    panels = {
        f"{family} {content}": {
            f"{attention} {mask}": [
                [VERDICTS[mark] for mark in facts.rows[f"{family} {content} {attention} {mask}"].replace(" ", "")]
                for facts in ordered
            ]
            for attention in ATTENTIONS
            for mask in MASKS
        }
        for family in FAMILIES
        for content in CONTENTS
    }
    return {"releases": [f.transformers for f in ordered], "panels": panels}


def draw(data: dict[str, Any]) -> Any:
    """Rows: attention and mask. Columns: positions, without and with a cache. A cell has a stripe for each release."""
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    names = list(data["panels"])
    figure, axes = plt.subplots(2, 2, figsize=(7.0, 8.6), sharex=True, sharey=True, layout="constrained")
    for axis, name in zip(axes.flat, names, strict=True):
        _panel(axis, data["panels"][name])
        family, content = name.split()
        _ = axis.set_title(f"{TITLES[family]}, {TITLES[content]}", fontsize=SMALL + 1, color=INK)
    for axis in axes[:, 0]:
        _rows(axis, list(data["panels"][names[0]]))
    keys = [(Line2D([], [], color=COLOURS[v], linewidth=9), _sign(v)) for v in MEANING]
    legend(figure, keys, list(MEANING.values()), loc="outside upper center", ncols=4)
    releases = ", ".join(data["releases"])
    foot = f"position_ids, and use_cache off or on; stripes of a cell, from left to right: transformers {releases}"
    _ = figure.supxlabel(foot, fontsize=SMALL, color=DIM)
    return figure


def _sign(verdict: str) -> Any:
    from matplotlib.lines import Line2D

    marker, ink = SIGNS[verdict]
    return Line2D([], [], linestyle="none", marker=marker or "none", markersize=3, color=ink, markeredgewidth=0.8)


def _panel(axis: Any, rows: dict[str, list[list[str]]]) -> None:
    from matplotlib.collections import PolyCollection

    boxes = [box for y, releases in enumerate(rows.values()) for box in _boxes(y, releases)]
    corners = [[(a, y0), (b, y0), (b, y1), (a, y1)] for a, b, y0, y1, _ in boxes]
    _ = axis.add_collection(PolyCollection(corners, facecolors=[COLOURS[v] for *_, v in boxes], linewidths=0))
    for verdict, (sign, ink) in SIGNS.items():
        at = [((a + b) / 2, (y0 + y1) / 2) for a, b, y0, y1, v in boxes if v == verdict]
        if sign and at:
            _ = axis.scatter(*zip(*at, strict=True), marker=sign, s=9, color=ink, linewidths=0.8)
    columns = range(len(POSITIONS))
    heads = [f"{HEADS[p]}\noff   on" for p in POSITIONS]
    _ = axis.set_xticks([2 * c + 1 for c in columns], heads, fontsize=SMALL - 0.5)
    _ = axis.set(xlim=(-0.1, 2 * len(POSITIONS) + 0.1), ylim=(len(rows) - 0.4, -0.6))
    bare(axis)


def _boxes(y: int, releases: Sequence[Sequence[str]]) -> Iterator[tuple[float, float, float, float, str]]:
    """Of a row of the matrix: left, right, top, bottom and verdict of each stretch of stripes that are alike."""
    width = (1 - NEAR - FAR) / len(releases)
    for cell in range(len(releases[0])):
        left = cell + (NEAR if cell % 2 else FAR)
        for first, last, verdict in _stretches([verdicts[cell] for verdicts in releases]):
            yield left + first * width, left + (last + 1) * width, y - HEIGHT / 2, y + HEIGHT / 2, verdict


def _stretches(seen: Sequence[str]) -> list[tuple[int, int, str]]:
    """Neighbouring stripes of one verdict: the first, the last, and the verdict."""
    made: list[tuple[int, int, str]] = []
    for k, verdict in enumerate(seen):
        if made and made[-1][2] == verdict:
            made[-1] = (made[-1][0], k, verdict)
        else:
            made.append((k, k, verdict))
    return made


def _rows(axis: Any, names: Sequence[str]) -> None:
    pairs = [name.split() for name in names]
    _ = axis.set_yticks(range(len(names)), [SHADES[mask] for _, mask in pairs], fontsize=SMALL - 0.5)
    for k, attention in enumerate(ATTENTIONS):
        middle = k * len(MASKS) + (len(MASKS) - 1) / 2
        _ = axis.text(
            *(-0.25, middle, KERNELS.get(attention, attention)),
            **{"transform": axis.get_yaxis_transform(), "rotation": 90, "ha": "center", "va": "center"},
            **{"fontsize": SMALL, "color": INK},
        )
