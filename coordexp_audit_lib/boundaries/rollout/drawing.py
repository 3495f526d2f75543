"""Drawings of the rollout figures' data."""

from __future__ import annotations

from typing import Any

from coordexp_audit_lib.report.text import visible

# Okabe and Ito's palette: told apart with any colour vision.
BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"
RANKS = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION)
PALE, DARK = "#F2F2F2", "#333333"


def draw_exchange(data: dict[str, Any]) -> Any:
    """The request above, the answer below: one field a line, with a note to those that the contract is about."""
    import matplotlib.pyplot as plt

    parts = (("POST /infer/: the request", data["request"], BLUE), ("the answer's first item", data["response"], GREEN))
    heights = [len(lines) + 1.2 for _, lines, _ in parts]
    figure, axes = plt.subplots(2, 1, figsize=(7.0, 0.235 * sum(heights)), height_ratios=heights, layout="constrained")
    for axis, (title, lines, colour) in zip(axes, parts, strict=True):
        _ = axis.set(xlim=(0, 1), ylim=(len(lines) - 0.3, -0.9))
        axis.axis("off")
        _ = axis.set_title(title, loc="left", fontsize=8, color=colour, fontweight="bold")
        for y, (text, note) in enumerate(lines):
            if note:
                _ = axis.axhspan(y - 0.45, y + 0.45, color=colour, alpha=0.10, linewidth=0)
                _ = axis.plot([0, 0], [y - 0.45, y + 0.45], color=colour, linewidth=2.5, solid_capstyle="butt")
                style = {"fontsize": 6.3, "color": DARK, "style": "italic"}
                _ = axis.text(0.995, y, visible(note), ha="right", va="center", parse_math=False, **style)
            _ = axis.text(0.01, y, visible(text), fontsize=6.0, family="monospace", va="center", parse_math=False)
    return figure


def draw_chunks(data: dict[str, Any]) -> Any:
    """One panel a server: stacked bars of the ranks' requests by round, against what its GPUs decode at once."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    servers = data["servers"]
    figure, axes = plt.subplots(1, len(servers), figsize=(7.0, 2.6), sharey=True, layout="constrained", squeeze=False)
    for server, axis in enumerate(axes[0]):
        filled = [0] * data["rounds"]
        for call in (c for c in data["calls"] if c["server"] == server):
            count, at = call["last"] - call["first"] + 1, call["round"]
            _ = axis.bar(
                at, count, bottom=filled[at], width=0.8, color=RANKS[call["rank"] % len(RANKS)], edgecolor="white"
            )
            label = str(call["first"]) if count == 1 else f"{call['first']}–{call['last']}"
            _ = axis.text(at, filled[at] + count / 2, label, ha="center", va="center", fontsize=7, color="white")
            filled[at] += count
        _ = axis.axhline(data["caps"][server], color=VERMILION, linewidth=1.2)
        size = servers[server]
        _ = axis.set_title(f"server {server}: {size} GPU{'s' * (size > 1)}", fontsize=8)
        axis.tick_params(labelsize=7)
        _ = axis.set_xlabel("round", fontsize=8)
        _ = axis.set(ylim=(0, max(data["caps"]) * 1.15), xlim=(-0.6, data["rounds"] - 0.4))
        _ = axis.set_xticks(range(data["rounds"]))
        axis.spines[["top", "right"]].set_visible(False)
    _ = axes[0][0].set_ylabel("requests under way", fontsize=8)
    patches = [Patch(facecolor=RANKS[r % len(RANKS)], label=f"rank {r}") for r in range(data["ranks"])]
    patches.append(Patch(facecolor=VERMILION, label="most that may be decoded at once"))
    _ = figure.legend(handles=patches, loc="outside upper center", ncols=len(patches), fontsize=7, frameon=False)
    return figure


COLUMNS = (
    ("raised", "error\nraised"),
    ("said", "it says\nwhat"),
    ("in_time", "ends\nin time"),
    ("once", "each request\nsent once"),
)


def draw_misdeeds(data: dict[str, Any]) -> Any:
    """Misdeeds down, demands across; blue where met, vermilion with a cross where not. Error types stand beside."""
    import matplotlib.pyplot as plt

    rows = data["rows"]
    figure, axis = plt.subplots(figsize=(7.0, 0.24 * len(rows) + 0.7), layout="constrained")
    for y, row in enumerate(rows):
        for x, (key, _name) in enumerate(COLUMNS):
            moot = row["sound"] and key in ("raised", "said")
            good = row[key] != moot if key in ("raised", "said") and moot else row[key]
            face = PALE if moot and good else BLUE if good else VERMILION
            _ = axis.barh(y, 0.94, left=x + 0.03, height=0.86, color=face)
            sign = "none due" if moot and good else "yes" if good else "no"
            _ = axis.text(
                x + 0.5,
                y,
                sign,
                ha="center",
                va="center",
                fontsize=6.5,
                color=DARK if moot else "white",
                fontweight="normal" if good else "bold",
            )
        shown = row["error"] or "outputs returned"
        _ = axis.text(
            len(COLUMNS) + 0.12, y, visible(shown), va="center", fontsize=6.5, family="monospace", parse_math=False
        )
    _ = axis.set_yticks(range(len(rows)), [visible(r["misdeed"]) for r in rows], fontsize=7)
    _ = axis.set_xticks([x + 0.5 for x in range(len(COLUMNS))], [name for _, name in COLUMNS], fontsize=7)
    _ = axis.set(xlim=(0, len(COLUMNS) + 1.7), ylim=(len(rows) - 0.5, -0.5))
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return figure


def draw_timeline(data: dict[str, Any]) -> Any:
    """One panel a failure, one lane a rank: its events in order. Vermilion where it fails or raises."""
    import matplotlib.pyplot as plt

    scenarios = data["scenarios"]
    longest = max(len(r["events"]) for s in scenarios for r in s["ranks"])
    figure, axes = plt.subplots(
        len(scenarios), 1, figsize=(7.0, 0.82 * len(scenarios)), layout="constrained", squeeze=False
    )
    for axis, scenario in zip(axes[:, 0], scenarios, strict=True):
        for lane, rank in enumerate(scenario["ranks"]):
            _ = axis.plot([0, longest], [lane, lane], color="#BBBBBB", linewidth=0.8, zorder=0)
            for x, event in enumerate(rank["events"]):
                bad = event.startswith(("fails", "raises", "does not", "has nothing"))
                face = VERMILION if bad else ORANGE if event == "goes on" else SKY
                _ = axis.barh(lane, 0.92, left=x + 0.04, height=0.74, color=face)
                _ = axis.text(
                    x + 0.5,
                    lane,
                    visible(event),
                    ha="center",
                    va="center",
                    fontsize=6.2,
                    color="white" if bad else "black",
                    parse_math=False,
                )
        _ = axis.set_title(visible(scenario["name"]), loc="left", fontsize=7.5, pad=2)
        _ = axis.set_yticks([0, 1], ["rank 0", "rank 1"], fontsize=7)
        _ = axis.set(xlim=(0, longest), ylim=(1.55, -0.55))
        _ = axis.set_xticks([])
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    return figure
