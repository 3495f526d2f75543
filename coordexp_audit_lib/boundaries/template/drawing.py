"""Draws the exhibits of `figures`: their numbers and nothing else."""

from __future__ import annotations

from typing import Any

from coordexp_audit_lib.boundaries.template.figures import ROLES
from coordexp_audit_lib.report.text import cut, visible

# Okabe and Ito's palette: told apart with any colour vision.
BLUE, ORANGE, GREEN, VERMILION, SKY, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#B0B0B0"
FILLS = ("#D9D9D9", "#FFFFFF", "#BFE3F7", "#CFE6D8", "#F7DDA8")
LINE, GAP, CHARACTER = 96.0, 0.6, 1.05


def draw_conversation(data: dict[str, Any]) -> Any:
    """Tokens in reading order, each a box with its text and id; a bar under those that are supervised."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch, Rectangle

    boxes = laid_out(data["pieces"], data["ids"])
    lines = 1 + max(b[2] for b in boxes)
    figure, axes = plt.subplots(figsize=(7.0, 0.42 * lines + 0.6), layout="constrained")
    for (left, width, line), piece, number, role, taught in zip(
        boxes, shown(data["pieces"]), data["ids"], data["roles"], data["supervised"], strict=True
    ):
        _ = axes.add_patch(
            Rectangle((left, line + 0.08), width, 0.72, facecolor=FILLS[role], edgecolor="#888888", linewidth=0.5)
        )
        if taught:
            _ = axes.add_patch(Rectangle((left, line + 0.84), width, 0.08, facecolor=VERMILION, edgecolor="none"))
        middle = left + width / 2
        text: dict[str, Any] = {"ha": "center", "va": "center", "parse_math": False}
        _ = axes.text(middle, line + 0.32, piece, fontsize=5.8, family="DejaVu Sans Mono", **text)
        _ = axes.text(middle, line + 0.63, str(number), fontsize=4.6, color="#444444", **text)
    _ = axes.set(xlim=(0, LINE), ylim=(lines, 0))
    axes.set_axis_off()
    patches = [
        Patch(facecolor=f, edgecolor="#888888", label=r, linewidth=0.5) for f, r in zip(FILLS, ROLES, strict=True)
    ]
    patches.append(Patch(facecolor=VERMILION, label="supervised"))
    _ = figure.legend(handles=patches, loc="outside upper center", ncols=6, fontsize=6.5, frameon=False)
    return figure


def shown(pieces: list[str]) -> list[str]:
    """Token texts that can be seen: blanks and newlines as signs, nothing that is not printable."""
    return [cut(visible(p.replace(" ", "␣").replace("\n", "↵")), 18) for p in pieces]


def laid_out(pieces: list[str], ids: list[int]) -> list[tuple[float, float, int]]:
    """Left edge, width and line of each token's box; lines are broken between tokens."""
    left, line, found = 0.0, 0, []
    for piece, number in zip(shown(pieces), ids, strict=True):
        width = CHARACTER * max(len(piece), 0.8 * len(str(number))) + 1.0
        if left and left + width > LINE:
            left, line = 0.0, line + 1
        found.append((left, width, line))
        left += width + GAP
    return found


def draw_masks(data: dict[str, Any]) -> Any:
    """One strip of roles for each record, with the supervised stretch under it."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    records = data["records"]
    colours = ("#8C8C8C", "#D9D9D9", SKY, GREEN, ORANGE)
    figure, axes = plt.subplots(figsize=(7.0, 0.42 * len(records) + 1.0), layout="constrained")
    for y, record in enumerate(records):
        for start, end, role in runs(record["roles"]):
            _ = axes.barh(y - 0.08, end - start, left=start, height=0.5, color=colours[role], linewidth=0)
        for start, end, taught in runs(record["flags"]):
            if taught:
                _ = axes.barh(y + 0.28, end - start, left=start, height=0.14, color=VERMILION, linewidth=0)
    names = [f"{r['objects']} obj., {r['pictures']} img." for r in records]
    _ = axes.set_yticks(range(len(records)), names, fontsize=7)
    _ = axes.set(xlabel="token index", ylim=(len(records) - 0.4, -0.6), xlim=(0, max(r["tokens"] for r in records)))
    _tidy(axes, strips=True)
    patches = [Patch(facecolor=f, label=r) for f, r in zip(colours, ROLES, strict=True)]
    patches.append(Patch(facecolor=VERMILION, label="supervised"))
    _ = figure.legend(handles=patches, loc="outside upper center", ncols=6, fontsize=6.5, frameon=False)
    return figure


def runs(values: list[int]) -> list[tuple[int, int, int]]:
    """Start, end (exclusive) and value of each unbroken run."""
    found: list[tuple[int, int, int]] = []
    for i, value in enumerate(values):
        if found and found[-1][2] == value:
            found[-1] = (found[-1][0], i + 1, value)
        else:
            found.append((i, i + 1, value))
    return found


def draw_prompts(data: dict[str, Any]) -> Any:
    """What is generated from (upper bar) beside what is taught (lower bar), shared tokens in one colour."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    rows = data["rows"]
    figure, axes = plt.subplots(figsize=(7.0, 0.27 * len(rows) + 0.9), layout="constrained")
    for y, row in enumerate(rows):
        for offset, name, colour in ((-0.19, "generated", VERMILION), (0.19, "taught", ORANGE)):
            _ = axes.barh(y + offset, row["shared"], height=0.3, color=BLUE, linewidth=0)
            rest = max(0, row[name] - row["shared"])
            _ = axes.barh(y + offset, rest, left=row["shared"], height=0.3, color=colour, linewidth=0)
    names = [f"{r['setting'].replace('/', ', ')}: {r['backend']}" for r in rows]
    _ = axes.set_yticks(range(len(rows)), names, fontsize=6.5)
    longest = max(max(r["generated"], r["taught"]) for r in rows)
    _ = axes.set(xlabel="prompt tokens", ylim=(len(rows) - 0.4, -0.6), xlim=(0, longest * 1.02))
    _tidy(axes, strips=True)
    patches = [
        Patch(facecolor=BLUE, label="shared from the start"),
        Patch(facecolor=VERMILION, label="generated from only"),
        Patch(facecolor=ORANGE, label="taught only"),
    ]
    _ = figure.legend(handles=patches, loc="outside upper center", ncols=3, fontsize=7, frameon=False)
    return figure


def draw_ids(data: dict[str, Any]) -> Any:
    """The end of the vocabulary as one bar, and the coordinate tokens' ids over their bins."""
    import matplotlib.pyplot as plt

    figure, (bar, plot) = plt.subplots(2, 1, figsize=(7.0, 2.9), height_ratios=(0.5, 1.6), layout="constrained")
    first, last, ranks = min(data["coord_ids"]), max(data["coord_ids"]), data["ranks"]
    start, stop = ranks - 120, max(data["rows"], data["length"], data["base_rows"]) + 40
    parts = (
        (start, ranks, SKY, "byte pairs"),
        (ranks, first, GREY, "control"),
        (first, last + 1, ORANGE, "coordinates"),
    )
    for left, right, colour, name in parts:
        _ = bar.barh(0, right - left, left=left, height=0.8, color=colour, linewidth=0)
        if name != "control":
            _ = bar.text((left + right) / 2, 0, name, ha="center", va="center", fontsize=7)
    for x, name, dashes in ((data["base_rows"], "rows before", ":"), (data["rows"], "rows after", "--")):
        _ = bar.axvline(x, color=VERMILION, linestyle=dashes, linewidth=1.2)
        _ = bar.text(x, 0.62, name, ha="right", va="bottom", fontsize=7, color=VERMILION)
    _ = bar.set(xlim=(start, stop), ylim=(-0.45, 1.1), yticks=[])
    bar.ticklabel_format(axis="x", style="plain", useOffset=False)
    _ = plot.plot(range(len(data["coord_ids"])), data["coord_ids"], color=BLUE, linewidth=1.4)
    _ = plot.set(xlabel="bin", ylabel="token id", xlim=(0, 999))
    plot.ticklabel_format(axis="y", style="plain", useOffset=False)
    _tidy(bar, strips=True)
    _tidy(plot)
    return figure


def draw_images(data: dict[str, Any]) -> Any:
    """Placeholders counted in the ids against the cells of the merged grid, both axes logarithmic."""
    import matplotlib.pyplot as plt

    cells = [r["grid"][0] * r["grid"][1] * r["grid"][2] // 4 for r in data["rows"]]
    pads = [r["pads"] for r in data["rows"]]
    figure, axes = plt.subplots(figsize=(3.6, 3.2), layout="constrained")
    ends = [min(cells) * 0.7, max(cells) * 1.5]
    _ = axes.plot(ends, ends, color=GREY, linewidth=1.0, label="t·h·w / 4")
    _ = axes.plot(cells, pads, linestyle="none", marker="o", markersize=4, color=BLUE, label="counted in the ids")
    _ = axes.set(xscale="log", yscale="log", xlabel="cells of the merged grid", ylabel="image placeholders")
    _ = axes.legend(fontsize=7, frameon=False, loc="upper left")
    _tidy(axes)
    return figure


def draw_limit(data: dict[str, Any]) -> Any:
    """Encoded tokens over the sample's own length; where they part, the answer is cut."""
    import matplotlib.pyplot as plt

    rows, limit = data["rows"], data["max_length"]
    figure, axes = plt.subplots(figsize=(4.6, 3.0), layout="constrained")
    ends = [0, max(r["tokens"] for r in rows) * 1.03]
    _ = axes.plot(ends, ends, color=GREY, linewidth=1.0, label="whole sample")
    _ = axes.axhline(limit, color="black", linestyle=":", linewidth=1.0)
    _ = axes.text(ends[1] * 0.02, limit, f"limit {limit}", va="bottom", fontsize=7)
    groups = (
        ("encoded whole", BLUE, "o", [(r["tokens"], r["encoded"]) for r in rows if r["kept"] == r["answer"]]),
        ("answer cut", VERMILION, "X", [(r["tokens"], r["encoded"]) for r in rows if 0 < r["kept"] < r["answer"]]),
        ("error", GREEN, "s", [(r["tokens"], 0) for r in rows if r["error"]]),
    )
    for name, colour, marker, points in groups:
        if points:
            _ = axes.plot(*zip(*points, strict=True), linestyle="none", marker=marker, color=colour, label=name)
    _ = axes.set(xlabel="tokens of the sample", ylabel="tokens encoded", xlim=(0, ends[1]), ylim=(-400, ends[1]))
    _ = axes.legend(fontsize=7, frameon=False, loc="center left")
    _tidy(axes)
    return figure


def _tidy(axes: Any, strips: bool = False) -> None:
    """Small type, no box; no left edge either where the rows are strips."""
    axes.spines[["top", "right", "left"] if strips else ["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", labelsize=7)
    axes.tick_params(axis="y", **({"length": 0} if strips else {"labelsize": 7}))
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_fontsize(8)
