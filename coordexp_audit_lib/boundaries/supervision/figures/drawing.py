"""Drawing of the supervision boundary's exhibits. Each function takes an exhibit's data and returns a figure."""

from __future__ import annotations

from typing import Any

from coordexp_audit_lib.report import style
from coordexp_audit_lib.report.figure import figure
from coordexp_audit_lib.report.text import visible

ROLE = {"structure": style.PALE, "desc": style.SKY, "coordinate": style.TINTS[style.ORANGE], "closure": style.RULE}
FATE = {
    "matched": style.BLUE,
    "false positive": style.VERMILION,
    "appended": style.GREEN,
    "container": style.GREY,
    "dropped": style.PURPLE,
}
PER_LINE = 27


@figure(
    "supervision.ribbon",
    "A Channel-B target token by token: the rollout's own tokens up to the dashed line, then what is appended. "
    "The band above says which "
    "object a token belongs to and its fate, the colour its role, the bars below the gradient that it gets. "
    "Under a false positive there "
    "should be none.",
    "Lines of tokens as coloured boxes with a band for the fate above and bars of gradient below.",
    main=True,
)
def draw_ribbon(data: dict[str, Any]) -> Any:
    """Lines of tokens: a band for the fate, a box coloured by role with the text, the gradients under it."""
    import matplotlib.pyplot as plt

    tokens = data["tokens"]
    lines = [tokens[i : i + PER_LINE] for i in range(0, len(tokens), PER_LINE)]
    figure, axes = plt.subplots(len(lines), 1, figsize=(7.2, 1.45 * len(lines) + 0.75), squeeze=False)
    tops = {kind: max(t[kind] for t in tokens) or 1.0 for kind in ("ce", "geometry")}
    for n, line in enumerate(lines):
        _ribbon_line(axes[n][0], line, n * PER_LINE, data["seam"], tops)
    _ribbon_legend(figure)
    figure.subplots_adjust(left=0.02, right=0.98, top=1 - 0.8 / (1.45 * len(lines) + 0.75), bottom=0.01, hspace=0.06)
    return figure


def _ribbon_line(axis: Any, line: list[dict[str, Any]], start: int, seam: int, tops: dict[str, float]) -> None:
    from matplotlib.patches import Rectangle

    for i, token in enumerate(line):
        roles, fates = token["role"].split("+"), token["fate"].split("+")
        for j, role in enumerate(roles):
            place, width = (i + j / len(roles), 0), 1 / len(roles)
            axis.add_patch(Rectangle(place, width, 1, facecolor=ROLE[role], edgecolor="none"))
        axis.add_patch(Rectangle((i, 0), 1, 1, facecolor="none", edgecolor=style.WHITE, linewidth=0.8))
        for j, fate in enumerate(fates):
            axis.add_patch(Rectangle((i + j / len(fates), 1.04), 1 / len(fates), 0.12, facecolor=FATE[fate]))
        font: dict[str, Any] = {"fontsize": 6.8, "family": "DejaVu Sans Mono", "parse_math": False}
        axis.text(i + 0.5, 0.5, written(token["text"]), rotation=90, ha="center", va="center", **font)
        for kind, colour in (("ce", style.INK), ("geometry", style.ORANGE)):
            height = 0.55 * token[kind] / tops[kind]
            if height > 0:
                axis.add_patch(Rectangle((i + 0.2, -0.06 - height), 0.6, height, facecolor=colour))
        if start + i == seam:
            axis.plot([i, i], [-0.65, 1.2], color=style.GREEN, linewidth=1.4, linestyle=(0, (3, 2)))
    axis.plot([0, PER_LINE], [-0.06, -0.06], color=style.INK, linewidth=0.4)
    axis.set(xlim=(0, PER_LINE), ylim=(-0.7, 1.22))
    axis.axis("off")


def written(text: str) -> str:
    """A token's text as it stands in a ribbon."""
    return visible(text).replace("<|", "").replace("|>", "").replace(" ", "·")


def _ribbon_legend(figure: Any) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    fills = {f: FATE[f] for f in ("container", "matched", "false positive", "appended")}
    fills = {**fills, **ROLE, "cross-entropy |grad|": style.INK, "geometry |grad|": style.ORANGE}
    shown: list[Any] = [Patch(facecolor=colour, label=name) for name, colour in fills.items()]
    shown.append(Line2D([], [], color=style.GREEN, linestyle=(0, (3, 2)), label="append point"))
    spaces = {"handlelength": 1.4, "columnspacing": 1.4}
    figure.legend(handles=shown, ncol=3, fontsize=7.5, frameon=False, loc="upper center", **spaces)


@figure(
    "supervision.gradients",
    "The gradient that each token of the same target gets, by loss term, on a logarithmic axis: cross-entropy on "
    "text, geometry on "
    "coordinates. The band below is the fate of the object that a token belongs to; a token without a mark gets "
    "nothing.",
    "Stems over the token positions, black circles for cross-entropy and orange squares for geometry, over a "
    "band of fates.",
)
def draw_gradients(data: dict[str, Any]) -> Any:
    """Norms of both terms over positions, and the fates as a band under the axis."""
    import matplotlib.pyplot as plt

    tokens = data["tokens"]
    figure, (axis, band) = plt.subplots(
        2, 1, figsize=(7.2, 2.9), height_ratios=(1, 0.09), sharex=True, layout="constrained"
    )
    for kind, name, colour, marker in (
        ("ce", "cross-entropy", style.INK, "o"),
        ("geometry", "geometry", style.ORANGE, "s"),
    ):
        points = [(n, t[kind]) for n, t in enumerate(tokens) if t[kind] > 0]
        if points:
            xs, ys = zip(*points, strict=True)
            _ = axis.vlines(xs, min(ys) / 3, ys, color=colour, linewidth=0.6)
            _ = axis.plot(xs, ys, marker, color=colour, markersize=3.5, linestyle="none", label=f"{name} |grad|")
    _ = axis.axvline(data["seam"] - 0.5, color=style.GREEN, linestyle=(0, (3, 2)), linewidth=1.2, label="append point")
    _ = axis.set(yscale="log", ylabel="norm at the logits")
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.yaxis.set_minor_formatter(lambda *_: "")
    style.legend(figure, loc="outside upper center", ncols=3)
    style.spare(axis)
    for n, token in enumerate(tokens):
        fates = token["fate"].split("+")
        for j, fate in enumerate(fates):
            _ = band.barh(0, 1 / len(fates), left=n - 0.5 + j / len(fates), height=1, color=FATE[fate], linewidth=0)
    _ = band.set(yticks=[0], yticklabels=["fate"], xlabel="token position", xlim=(-0.5, len(tokens) - 0.5))
    style.bare(band)
    return figure


@figure(
    "supervision.match",
    "A real rollout against its ground truth: predictions solid, ground truth dashed, a line between the two of "
    "a pair.",
    "Boxes on the grid of bins, named p for predictions and g for ground truth, with lines between matched ones.",
)
def draw_match(data: dict[str, Any]) -> Any:
    """Ground truth dashed, predictions solid; a line joins the centres of a pair."""
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    figure, axis = plt.subplots(figsize=(5.2, 4.4))
    for j, thing in enumerate(data["gt"]):
        _box(axis, thing["box"], style.GREEN if j in data["missed"] else style.INK, "--", name=f"g{j}", top=False)
    for i, thing in enumerate(data["pred"]):
        _box(axis, thing["box"], FATE[thing["fate"]], "-", name=f"p{i}", top=True)
        if thing["gt"] >= 0:
            boxes = (thing["box"], data["gt"][thing["gt"]]["box"])
            xs, ys = ([(b[i] + b[i + 2]) / 2 for b in boxes] for i in (0, 1))
            axis.plot(xs, ys, color=style.BLUE, linewidth=1.2, marker="o", markersize=2.5)
    named: tuple[tuple[str, str, Any], ...] = (
        ("matched prediction", style.BLUE, "-"),
        ("false positive", style.VERMILION, "-"),
        ("matched ground truth", style.INK, "--"),
        ("missed, so appended", style.GREEN, "--"),
    )
    handles = [Line2D([], [], color=c, linestyle=s, label=n) for n, c, s in named]
    figure.legend(handles=handles, ncol=2, fontsize=7, frameon=False, loc="upper center")
    axis.set(xlim=(-15, 1014), ylim=(1014, -15))
    axis.set_xlabel("x (bins)", fontsize=8)
    axis.set_ylabel("y (bins)", fontsize=8)
    axis.tick_params(labelsize=7)
    figure.subplots_adjust(left=0.12, right=0.98, top=0.88, bottom=0.11)
    return figure


def _box(axis: Any, box: list[int], colour: str, style: str, *, name: str, top: bool) -> None:
    from matplotlib.patches import Rectangle

    x1, y1, x2, y2 = box
    axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linestyle=style, linewidth=1.2))
    place = (x1 + 3, y1 + 4) if top else (x2 - 3, y2 - 4)
    align = ("left", "top") if top else ("right", "bottom")
    axis.text(*place, name, color=colour, fontsize=6.5, ha=align[0], va=align[1], parse_math=False)


@figure(
    "supervision.schedule",
    lambda data: (
        f"Which of the first {data['steps']} optimizer steps are Channel-B (filled), for several shares b. They "
        "should be spread evenly."
    ),
    "Rows of squares, one row for each share, filled at Channel-B steps.",
)
def draw_schedule(data: dict[str, Any]) -> Any:
    """One row per share: a filled square for a Channel-B step, an outlined one for Channel-A."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    figure, axis = plt.subplots(figsize=(7.2, 1.7))
    for row, (share, steps) in enumerate(data["b_steps"].items()):
        chosen = set(steps)
        for s in range(data["steps"]):
            look: Any = {"facecolor": style.BLUE if s in chosen else style.WHITE, "edgecolor": style.GREY}
            axis.add_patch(Rectangle((s + 0.08, row + 0.1), 0.84, 0.8, linewidth=0.5, **look))
        axis.text(data["steps"] + 0.5, row + 0.5, f"{len(steps)} of {data['steps']}", va="center", fontsize=7)
        axis.text(-0.6, row + 0.5, f"b = {share}", va="center", ha="right", fontsize=7)
    axis.set(xlim=(-5.5, data["steps"] + 6), ylim=(len(data["b_steps"]), -0.1), yticks=[])
    axis.set_xlabel("optimizer step (filled: Channel-B)", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "left", "right"]].set_visible(False)
    figure.tight_layout()
    return figure
