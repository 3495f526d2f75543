"""The drawings of a log, from the numbers that `figures.series` gives."""

from __future__ import annotations

from typing import Any

from coordexp_audit_lib.report.text import visible

# Okabe and Ito's palette: told apart with any colour vision; hatches help in print.
BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, YELLOW, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
    "#F0E442",
    "#B0B0B0",
)
REASON_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, YELLOW, VERMILION, "#7F7F7F", "#404040")
HATCHES = ("", "//", "", "..", "", "xx", "", "\\\\", "")


def draw_log(data: dict[str, Any]) -> Any:
    """Channels and realised ratio, dropped records by reason, rollout seconds: one step a column, three panels."""
    from matplotlib import pyplot as plt

    wide = min(9.0, 4.0 + 0.45 * len(data["steps"]))
    figure, axes = plt.subplots(
        4, 1, figsize=(wide, 6.6), sharex=True, layout="constrained", height_ratios=(0.35, 2, 2, 2)
    )
    _channels(axes[0], data)
    _ratio(axes[1], data)
    _reasons(axes[2], data)
    _seconds(axes[3], data)
    _ = axes[3].set_xlabel("optimizer step")
    _ = axes[3].set_xticks(_ticks(data["steps"]))
    figure.align_ylabels()
    return figure


def draw_broken(data: dict[str, Any]) -> Any:
    """Claims by steps: a mark, with the number of metrics, where a step breaks a claim."""
    from matplotlib import pyplot as plt

    claims = list(data["broken"])
    steps = data["steps"]
    figure, axis = plt.subplots(
        figsize=(min(9.0, 4.4 + 0.4 * len(steps)), 0.4 + 0.3 * len(claims)), layout="constrained"
    )
    for y, claim in enumerate(claims):
        for step, number in zip(steps, data["broken"][claim], strict=True):
            if number:
                _ = axis.scatter(step, y, marker="s", s=170, color=VERMILION)
                _ = axis.text(step, y, str(number), ha="center", va="center", fontsize=8, color="white")
            else:
                _ = axis.scatter(step, y, marker=".", s=14, color=GREY)
    labels = [f"{step}\n{channel}" for step, channel in zip(steps, data["channels"], strict=True)]
    kept = _ticks(steps)
    _ = axis.set_xticks(kept, [labels[steps.index(s)] for s in kept])
    _ = axis.set_yticks(range(len(claims)), [c.removeprefix("metrics.") for c in claims])
    _ = axis.set(
        ylim=(len(claims) - 0.4, -0.6), xlim=(steps[0] - 0.6, steps[-1] + 0.6), xlabel="optimizer step and its channel"
    )
    axis.tick_params(length=0)
    axis.spines[["top", "right", "left", "bottom"]].set_visible(False)
    return figure


def _ticks(steps: list[int]) -> list[int]:
    return steps if len(steps) <= 24 else steps[:: -(-len(steps) // 24)]


def _channels(axis: Any, data: dict[str, Any]) -> None:
    for step, channel in zip(data["steps"], data["channels"], strict=True):
        _ = axis.bar(step, 1, width=1.0, color=BLUE if channel == "B" else "#D9D9D9", edgecolor="white")
        if len(data["steps"]) <= 40:
            _ = axis.text(
                step, 0.5, channel, ha="center", va="center", fontsize=9, color="white" if channel == "B" else "black"
            )
    _ = axis.set(yticks=[], ylim=(0, 1), ylabel="channel")
    axis.yaxis.label.set(rotation=0, ha="right", va="center")
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def _ratio(axis: Any, data: dict[str, Any]) -> None:
    steps = data["steps"]
    if data["schedule"]:
        low, high = data["schedule"]
        text = f"b_ratio that gives this order: {low:.3g} to {high:.3g}"
        _ = axis.axhspan(low, max(high, low + 0.004), color=GREEN, alpha=0.25, linewidth=0, label=text)
    _ = axis.plot(steps, data["share"], color=ORANGE, linewidth=3.5, label="share of B steps so far")
    logged = [(s, r) for s, r in zip(steps, data["realized"], strict=True) if r is not None]
    if logged:
        _ = axis.plot(
            *zip(*logged, strict=True), color=BLUE, marker="o", markersize=4, linewidth=1, label="b_ratio_realized"
        )
    _ = axis.set(ylim=(-0.05, 1.05), ylabel="share of B")
    _ = axis.legend(loc="lower right", fontsize=8, frameon=False)
    _tidy(axis)


def _reasons(axis: Any, data: dict[str, Any]) -> None:
    from matplotlib.ticker import MaxNLocator

    steps, below = data["steps"], [0.0] * len(data["steps"])
    edges = [steps[0] - 0.5, *(s + 0.5 for s in steps)]
    for n, (reason, counts) in enumerate(data["reasons"].items()):
        style = n % len(REASON_COLOURS)
        above = [a + b for a, b in zip(below, counts, strict=True)]
        _ = axis.fill_between(
            edges,
            [*below, below[-1]],
            [*above, above[-1]],
            step="post",
            facecolor=REASON_COLOURS[style],
            hatch=HATCHES[style],
            edgecolor="white",
            linewidth=0,
            label=visible(reason)[:24],
        )
        below = above
    logged = [(s, d) for s, d in zip(steps, data["dropped"], strict=True) if d is not None]
    if logged:
        _ = axis.plot(
            *zip(*logged, strict=True),
            color="black",
            marker="_",
            markersize=17,
            linestyle="none",
            label="N_drop_invalid",
        )
    axis.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    _ = axis.set(ylabel="dropped records", ylim=(0, 1.1 * max([*below, 1])))
    _legend(axis)


def _seconds(axis: Any, data: dict[str, Any]) -> None:
    for key, colour, marker, label in (
        ("generate_s", SKY, "s", "rollout_generate_s"),
        ("running_s", VERMILION, "o", "rollout_total_time"),
    ):
        points = [(s, v) for s, v in zip(data["steps"], data[key], strict=True) if v is not None]
        if not points:
            continue
        if key == "generate_s":
            _ = axis.bar(*zip(*points, strict=True), width=0.8, color=colour, label=label)
        else:
            _ = axis.plot(*zip(*points, strict=True), color=colour, marker=marker, linewidth=1.2, label=label)
    _ = axis.set(ylabel="seconds", ylim=(0, None))
    _legend(axis)


def _legend(axis: Any) -> None:
    """Beside the panel; the names come from a log, so that `$` in them is no formula."""
    if axis.get_legend_handles_labels()[0]:
        legend = axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
        for entry in legend.get_texts():
            entry.set_parse_math(False)
    _tidy(axis)


def _tidy(axis: Any) -> None:
    axis.spines[["top", "right"]].set_visible(False)
