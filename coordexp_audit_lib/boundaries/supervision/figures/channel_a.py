"""Channel-A as a ribbon: its target token by token, and what each forward does to it."""

from __future__ import annotations

from typing import Any

from coordexp_audit_lib.boundaries.supervision.figures.drawing import ROLE, written
from coordexp_audit_lib.report import style
from coordexp_audit_lib.report.figure import figure

PER_LINE = 28
LANE, GAP = 0.34, 0.12
MODES = {"unroll": "unrolled", "em_detach": "detached"}
FONT: dict[str, Any] = {"fontsize": 6.5, "family": "DejaVu Sans Mono", "parse_math": False}


@figure(
    "supervision.channel_a",
    lambda data: (
        f"Channel-A's target of {len(data['tokens'])} tokens and {data['slots']} coordinate slots. "
        "Under each token a "
        "lane for each forward, with the gradient unrolled through all of them and with it detached between them: "
        "filled where a slot's embedding is replaced by the expectation, a bar where cross-entropy reaches a token. "
        "At the end of a lane stands how many slots the geometry reaches from it. "
        + "; ".join(
            f"{MODES.get(name, name)}, "
            + ", ".join(f"forward {n + 1}: {one['slots_reached']}" for n, one in enumerate(passes))
            for name, passes in data["modes"].items()
        )
        + "."
    ),
    "Lines of tokens as coloured boxes, with lanes of squares and bars below, one lane for each forward of each mode.",
)
def draw_channel_a(data: dict[str, Any]) -> Any:
    """Lines of tokens, with the forwards' lanes under each."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    tokens = data["tokens"]
    lanes = [(name, n, one) for name, passes in data["modes"].items() for n, one in enumerate(passes)]
    lines = range(0, len(tokens), PER_LINE)
    size = (7.2, (0.75 + 0.2 * len(lanes)) * len(lines) + 0.5)
    drawn, axes = plt.subplots(len(lines), 1, figsize=size, squeeze=False, layout="constrained")
    for axis, start in zip(axes[:, 0], lines, strict=True):
        _line(axis, tokens[start : start + PER_LINE], start, lanes, data["slots"])
    fills = {**ROLE, "embedding replaced": style.BLUE, "reached by cross-entropy": style.INK}
    patches = [Patch(facecolor=colour, label=name) for name, colour in fills.items()]
    style.legend(drawn, handles=patches, loc="outside upper center", ncols=6, fontsize=6.5, handlelength=1.2)
    return drawn


def _line(axis: Any, tokens: list[dict[str, Any]], start: int, lanes: list[tuple[str, int, Any]], slots: int) -> None:
    from matplotlib.patches import Rectangle

    for i, token in enumerate(tokens):
        roles = token["role"].split("+")
        for j, role in enumerate(roles):
            axis.add_patch(
                Rectangle((i + j / len(roles), 0), 1 / len(roles), 1.5, facecolor=ROLE[role], edgecolor="none")
            )
        axis.add_patch(Rectangle((i, 0), 1, 1.5, facecolor="none", edgecolor=style.WHITE, linewidth=0.8))
        axis.text(i + 0.5, 0.75, written(token["text"]), rotation=90, ha="center", va="center", **FONT)
    top = 0.0
    for name, n, one in lanes:
        top -= LANE if n else LANE + GAP
        changed, reached = set(one["changed"]), set(one["text"])
        for i in range(len(tokens)):
            if start + i in changed:
                axis.add_patch(Rectangle((i + 0.06, top + 0.04), 0.88, LANE - 0.08, facecolor=style.BLUE))
            if start + i in reached:
                axis.add_patch(Rectangle((i + 0.36, top + 0.04), 0.28, LANE - 0.08, facecolor=style.INK))
        axis.plot([0, len(tokens)], [top, top], color=style.RULE, linewidth=0.4)
        told = f"{MODES.get(name, name)}, {n + 1}"
        axis.text(-0.2, top + LANE / 2, told, ha="right", va="center", fontsize=6.2, parse_math=False)
        axis.text(len(tokens) + 0.2, top + LANE / 2, f"{one['slots_reached']} of {slots}", va="center", fontsize=6.2)
    axis.set(xlim=(-3.2, PER_LINE + 2.4), ylim=(top - 0.1, 1.55))
    axis.axis("off")
