"""Figures of what a real model shows of a pack: which token reaches which, and the mRoPE planes."""

from __future__ import annotations

from typing import Any

import numpy as np

from coordexp_audit_lib.boundaries.packing import cases
from coordexp_audit_lib.boundaries.packing import surfaces as s
from coordexp_audit_lib.boundaries.packing.predicates.isolation import NEGLIGIBLE, difference_shown, shown
from coordexp_audit_lib.core.claim import Context, exhibit
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.kit import mrope as rope
from coordexp_audit_lib.report import style
from coordexp_audit_lib.report.figure import figure
from coordexp_audit_lib.report.style import BLUE, GREEN, ORANGE, RULE, VERMILION

DECADES = ("exactly 0", "< 0.001", "0.001", "0.01", "0.1", "1", "≥ 10")
TRAINERS = {"dataset": "dataset packs", "post_rollout": "post-rollout packs"}
KERNELS = {"varlen": "variable-length kernel", "sdpa": "sdpa"}


@exhibit("packing.influence")
def influence(ctx: Context) -> dict[str, Any]:
    """One pack token by token, as the pipeline's own trainer passes it to the model under a variable-length kernel; and
    packs of both trainers under both kernels, by segment."""
    first = cases.forward_requests()[0][1]
    chosen = s.ForwardRequest(first.samples[:3], 400, first.path, first.attention, by_token=True)
    pack = ctx.value(s.FORWARD, chosen).packs[0]
    panels = []
    for _, request in cases.forward_requests():
        try:
            answer = ctx.value(s.FORWARD, request)
        except SurfaceUnbound:
            continue
        refused = request.attention == "sdpa" and not answer.sdpa_accepted
        largest = max(answer.packs, key=lambda p: len(p.members))
        panels.append({"path": request.path, "attention": request.attention, "refused": refused, **_panel(largest)})
    tokens = np.array(pack.tokens)
    segment = np.repeat(np.arange(len(pack.lengths)), pack.lengths)
    inside = segment[:, None] == segment[None, :]
    return {
        "lengths": pack.lengths,
        "tokens": pack.tokens,
        "inside_nonzero": int(((tokens > 0) & inside).sum()),
        "outside_nonzero": int(((tokens > 0) & ~inside).sum()),
        "outside": int((~inside).sum()),
        "ahead_nonzero": int((np.triu(tokens, 1) > 0).sum()),
        "panels": panels,
    }


def _panel(pack: s.Pack) -> dict[str, Any]:
    rows = pack.influence
    crossed = [v for i, row in enumerate(rows) for j, v in enumerate(row) if i != j]
    return {
        "lengths": pack.lengths,
        "position_rows": pack.position_rows,
        "keys": pack.keys,
        "influence": [[float(f"{v:.3g}") for v in row] for row in rows],
        "difference": difference_shown(max(pack.differences), pack.largest_logit),
        "crossed": shown(max(crossed)) if crossed else "no pair",
    }


@exhibit("packing.mrope")
def mrope(ctx: Context) -> dict[str, Any]:
    """The position rows of a pack along its tokens, beside those computed for each unpacked sample."""
    samples = cases.pictured_samples()
    encoded = ctx.value(s.ENCODE, s.EncodeRequest(samples)).encoded
    batch = max(ctx.value(s.BATCH, s.BatchRequest(samples, 400)).batches, key=lambda b: len(b.members))
    lengths = [encoded[m].length for m in batch.members]
    row = cases.row_of(batch, encoded, cases.profile_of(ctx))
    ids = row.flat("input_ids")
    if ids is None or row.mrope is None or row.text_positions is None:
        raise SurfaceUnbound("the batch lacks tokens or positions", where=s.BATCH.name)
    bounds = np.concatenate([[0], np.cumsum(lengths)]).tolist()
    unpacked = rope.positions(ids, row.profile, bounds, images=row.get("image_grid_thw"))
    return {
        "bounds": bounds,
        "text": row.text_positions.tolist(),
        "rows": row.mrope.tolist(),
        "unpacked": unpacked.tolist(),
        "pads": (ids == row.profile.image_pad).astype(int).tolist(),
        "different": int((row.mrope != unpacked).sum()),
        "segments": [
            {
                "segment": k,
                "tokens": b - a,
                "images": len(encoded[m].grid),
                "largest text position": int(row.text_positions[a:b].max()),
                "largest mRoPE position": int(row.mrope[:, a:b].max()),
            }
            for k, (m, a, b) in enumerate(zip(batch.members, bounds[:-1], bounds[1:], strict=True))
        ],
    }


@figure(
    "packing.influence",
    lambda data: (
        "Which token reaches which, measured on a real small model: the gradient of each logit at each "
        "embedding. Colour outside of the "
        f"framed segments would be one sample reading another: {data['outside_nonzero']} of {data['outside']} "
        "entries outside are not zero."
    ),
    "A square of token by token, shaded by the size of the gradient, with the segments framed along the diagonal.",
)
def draw_influence(data: dict[str, Any]) -> Any:
    """Which token's embedding reaches which token's logit: white is exactly zero."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.patches import Rectangle

    decades = plt.get_cmap("viridis_r")(np.linspace(0.05, 1, len(DECADES) - 1))
    colours = ListedColormap(np.vstack([[1, 1, 1, 1], decades]))
    figure, axis = plt.subplots(figsize=(4.6, 3.9), layout="constrained")
    n = len(data["tokens"])
    norm = BoundaryNorm(np.arange(len(DECADES) + 1) - 0.5, len(DECADES))
    shades = style.cells(axis, np.ma.masked_equal(data["tokens"], 0), cmap=colours, norm=norm)
    ends = np.cumsum(data["lengths"])
    for k, (a, b) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        _ = axis.add_patch(Rectangle((a, a), b - a, b - a, fill=False, edgecolor=VERMILION, linewidth=1.1))
        left = b > 0.8 * n
        at = (a - 0.015 * n, "right") if left else (b + 0.015 * n, "left")
        _ = axis.text(at[0], (a + b) / 2, f"segment {k}", ha=at[1], va="center", fontsize=7, color=VERMILION)
    _ = axis.set(xlabel="embedding of token", ylabel="logit at token")
    bar = style.colour_bar(figure, shades, ax=axis, ticks=range(len(DECADES)), shrink=0.9)
    _ = bar.ax.set_yticklabels(DECADES, fontsize=7)
    bar.set_label("largest gradient, by powers of ten", fontsize=8)
    bar.ax.tick_params(length=0)
    return figure


@figure(
    "packing.segments",
    "The gradient of each segment's loss at each segment's embeddings, by trainer and kernel. Numbers off the "
    "diagonal are leaks; the "
    "line under a panel says how far the logits are from those of the unpacked samples.",
    "A small matrix of numbers for each trainer and kernel: loss of segment by embeddings of segment.",
)
def draw_segments(data: dict[str, Any]) -> Any:
    """For each trainer and kernel, the gradient of each segment's loss at each segment's embeddings."""
    import matplotlib.pyplot as plt

    panels = data["panels"]
    figure, axes = plt.subplots(1, len(panels), figsize=(7.0, 2.35), layout="constrained", squeeze=False)
    for axis, panel in zip(axes[0], panels, strict=True):
        values = np.array(panel["influence"], dtype=float)
        shown_values = np.ma.masked_equal(np.log10(np.where(values > 0, values, 1.0)) + 3 * (values > 0), 0.0)
        style.cells(axis, shown_values, cmap="Blues", vmin=0, vmax=7)
        for i, row in enumerate(values):
            for j, value in enumerate(row):
                colour = "white" if value >= 30 else "black"
                number = f"{value:.2g}" if value else "0"
                _ = axis.text(j + 0.5, i + 0.5, number, ha="center", va="center", fontsize=7, color=colour)
        ticks = range(len(values))
        for place in (axis.set_xticks, axis.set_yticks):
            _ = place([t + 0.5 for t in ticks], [str(t) for t in ticks], fontsize=7)
        axis.tick_params(length=0)
        head = f"{TRAINERS[panel['path']]}\n{KERNELS[panel['attention']]}" + (" (refused)" if panel["refused"] else "")
        foot = f"max |Δlogit| {panel['difference']}"
        wrong = panel["difference"] != NEGLIGIBLE
        _ = axis.set_title(head, fontsize=7.5)
        _ = axis.set_xlabel(f"embeddings of segment\n{foot}", fontsize=7, color=VERMILION if wrong else "black")
    _ = axes[0][0].set_ylabel("loss of segment", fontsize=7)
    return figure


@figure(
    "packing.mrope",
    lambda data: (
        f"The three rows of mRoPE positions of a pack over those of its samples unpacked: {data['different']} "
        "positions differ. Right, the "
        "same images on the plane of height and width."
    ),
    "Left, three curves of positions along the tokens over wider grey ones; right, cells of the images by width "
    "and height position.",
)
def draw_mrope(data: dict[str, Any]) -> Any:
    """The three rows along the tokens with those of each unpacked sample; on the right, the cells of the images."""
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    figure = plt.figure(figsize=(7.0, 3.6), layout="constrained")
    grid = figure.add_gridspec(3, 2, width_ratios=(2.1, 1))
    n = len(data["text"])
    top = max(map(max, data["rows"])) + 1
    first = None
    for k, (name, colour) in enumerate(zip(rope.ROWS, (BLUE, ORANGE, GREEN), strict=True)):
        axis = figure.add_subplot(grid[k, 0], sharex=first)
        first = first or axis
        _ = axis.plot(data["unpacked"][k], color=RULE, linewidth=4.5, label="each sample unpacked")
        _ = axis.plot(data["rows"][k], color=colour, linewidth=1.2, label="in the pack")
        for start in data["bounds"][1:-1]:
            _ = axis.axvline(start, color="black", linewidth=0.6)
        _ = axis.set(ylabel=name, xlim=(0, n), ylim=(-1, top))
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelbottom=k == 2, labelsize=7)
    _ = axis.set_xlabel("token index")
    lines = [Line2D([], [], color=RULE, linewidth=4.5), Line2D([], [], color="black", linewidth=1.2)]
    names = ["computed for each unpacked sample", "in the pack (coloured)"]
    _ = figure.legend(lines, names, loc="outside upper left", ncols=2, fontsize=7, frameon=False)
    plane = figure.add_subplot(grid[:, 1])
    rows = np.array(data["rows"])
    cells = np.array(data["pads"], dtype=bool)
    marks = ("o", "s", "^", "D")
    for k, (a, b) in enumerate(zip(data["bounds"][:-1], data["bounds"][1:], strict=True)):
        chosen = np.flatnonzero(cells[a:b]) + a
        _ = plane.plot(rows[2, a:b], rows[1, a:b], color=RULE, linewidth=0.7, zorder=1)
        if chosen.size:
            colour, name = (BLUE, ORANGE, GREEN, VERMILION)[k % 4], f"images of segment {k}"
            _ = plane.scatter(
                rows[2, chosen], rows[1, chosen], s=16, marker=marks[k % 4], color=colour, label=name, zorder=2
            )
    edge = int(rows[1:, cells].max(initial=0)) + 4
    _ = plane.set(xlabel="width position", ylabel="height position", xlim=(-1, edge), ylim=(edge, -1))
    plane.set_aspect("equal", adjustable="box")
    _ = plane.legend(loc="upper right", fontsize=7, frameon=False)
    plane.spines[["top", "right"]].set_visible(False)
    plane.tick_params(labelsize=7)
    return figure
