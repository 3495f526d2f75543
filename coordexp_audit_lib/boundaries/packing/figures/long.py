"""A pack of full length, token by token: what the ribbon shows of a small one, at the length that training uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from coordexp_audit_lib.boundaries.packing import cases
from coordexp_audit_lib.boundaries.packing.figures.ribbon import ROLE_COLOURS, ROLES, of_row
from coordexp_audit_lib.boundaries.packing.surfaces import BATCH, BatchRequest
from coordexp_audit_lib.core.claim import Context, exhibit
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.report import style
from coordexp_audit_lib.report.figure import figure

AROUND = 40  # tokens on either side of a border, in the panels below
LINES = (("width", style.GREEN, ":"), ("height", style.ORANGE, "--"), ("temporal", style.SKY, "-"))
Run = list[int]  # first token, how many, value
Data = dict[str, Any]


@exhibit("packing.long")
def long_pack(ctx: Context) -> Data:
    """The fullest pack of dense detection samples at the configs' global_max_length, as runs and turning points."""
    request = BatchRequest(cases.dense_samples(), cases.GLOBAL_MAX_LENGTH)
    batches = ctx.value(BATCH, request).batches
    rows = [cases.row_of(b, profile=cases.profile_of(ctx)) for b in batches]
    data = of_row(max(rows, key=lambda row: row.length or 0)) if rows else {}
    if not data or data["text_positions"] is None or data["mrope"] is None:
        raise SurfaceUnbound("the batch lacks tokens or positions", where=BATCH.name)
    return {
        "tokens": len(data["roles"]),
        "capacity": cases.GLOBAL_MAX_LENGTH,
        "starts": data["starts"],
        "ends": data["ends"],
        "roles": written(runs(data["roles"])),
        "supervised": written(runs(data["supervised"])),
        "text_positions": written(turns(data["text_positions"])),
        "mrope": [written(turns(row)) for row in data["mrope"]],
    }


def runs(values: Sequence[int]) -> list[Run]:
    """Unbroken runs of a value: first token, number of tokens, value."""
    array = np.asarray(values)
    firsts = np.flatnonzero(np.diff(array, prepend=array[0] - 1)).tolist()
    return [[a, b - a, int(array[a])] for a, b in zip(firsts, [*firsts[1:], len(array)], strict=True)]


def turns(values: Sequence[int]) -> list[list[int]]:
    """The points (token, value) at which a polyline through all values changes its slope, with both ends."""
    array = np.asarray(values)
    bends = np.flatnonzero(np.diff(array, 2)) + 1
    kept = sorted({0, len(array) - 1, *bends.tolist()})
    return [[at, int(array[at])] for at in kept]


def written(rows: Sequence[Sequence[int]]) -> str:
    """Rows of numbers on one line, which a notebook would keep one number a line."""
    return " ".join(",".join(map(str, row)) for row in rows)


def read(line: str) -> list[list[int]]:
    """The rows that `written` wrote."""
    return [[int(n) for n in row.split(",")] for row in line.split()]


@figure(
    "packing.long",
    lambda data: (
        f"A pack as training makes it: {data['tokens']:,} of {data['capacity']:,} tokens, "
        f"{len(data['starts'])} samples, "
        "each with a picture. Above, all of it: what each token is, whether it is supervised, which sample it is "
        f"of, and its positions. Below, {2 * AROUND} tokens around the first and the last border, enlarged. "
        "Positions should start again with each sample, and no label should stand across a border."
    ),
    "Three strips along the token index (role, label, segment), curves of positions below, and two borders enlarged.",
)
def draw_long(data: Data) -> Any:
    """The whole pack, then its first and its last border."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    drawn = plt.figure(figsize=(7.0, 4.6), layout="constrained")
    parts: Any = drawn.subfigures(2, 1, height_ratios=(3.2, 1.5))
    whole, borders = parts
    axes = whole.subplots(4, 1, height_ratios=(0.5, 0.3, 0.3, 1.6), sharex=True)
    _strips(axes[:3], data, 0, data["tokens"])
    _positions(axes[3], data)
    inner = data["starts"][1:]
    shown = [inner[0], inner[-1]] if len(inner) > 1 else inner
    for column, (border, below) in enumerate(zip(shown, borders.subplots(1, 2, squeeze=False)[0], strict=False)):
        strips = [below.inset_axes((0, y, 1, h)) for y, h in ((0.62, 0.38), (0.36, 0.2), (0.1, 0.2))]
        _strips(strips, data, max(0, border - AROUND), min(data["tokens"], border + AROUND))
        below.set_axis_off()
        below.set_title(f"around token {border:,}", fontsize=style.SMALL)
        if column:
            for strip in strips:
                strip.set_yticks([])
        for strip in strips:
            _ = strip.axvline(border, color=style.INK, linewidth=1.0)
    present = sorted({role for _, _, role in read(data["roles"])})
    patches = [Patch(facecolor=ROLE_COLOURS[r], edgecolor=style.EDGE, label=ROLES[r], linewidth=0.4) for r in present]
    patches.append(Patch(facecolor=style.VERMILION, label="supervised label"))
    style.legend(whole, handles=patches, loc="outside upper center", ncols=len(patches), fontsize=7)
    return drawn


def _strips(axes: Any, data: Data, first: int, last: int) -> None:
    """Role, label and segment of the tokens from `first` to `last`, as stretches of one colour."""
    pairs = zip(data["starts"], data["ends"], strict=True)
    segments = [[a, b - a, k % 2] for k, (a, b) in enumerate(pairs)]
    strips = (
        ("role", read(data["roles"]), ROLE_COLOURS),
        ("label", read(data["supervised"]), (style.PALE, style.VERMILION)),
        ("segment", segments, (style.GREY, style.DIM)),
    )
    for axis, (name, stretches, colours) in zip(axes, strips, strict=True):
        for value, colour in enumerate(colours):
            spans = [(a, a + n, None) for a, n, v in stretches if v == value and a < last and a + n > first]
            if spans:  # one path with gaps, wider than the strip, which cuts it: a tenth of what rectangles take
                xs = [x for span in spans for x in span]
                axis.plot(xs, [0.5] * len(xs), color=colour, linewidth=80, solid_capstyle="butt")
        _ = axis.set(xlim=(first, last), ylim=(0, 1))
        _ = axis.set_yticks([0.5], [name], fontsize=style.SMALL)
        _ = axis.set_xticks([])
        axis.tick_params(length=0)


def _positions(axis: Any, data: Data) -> None:
    """The rows of positions over the whole pack."""
    text = read(data["text_positions"])
    for row, (name, colour, dashes) in zip((2, 1, 0), LINES, strict=True):
        xs, ys = zip(*read(data["mrope"][row]), strict=True)
        _ = axis.plot([x + 0.5 for x in xs], ys, color=colour, linestyle=dashes, linewidth=0.8, label=f"mRoPE {name}")
    xs, ys = zip(*text, strict=True)
    _ = axis.plot([x + 0.5 for x in xs], ys, color=style.BLUE, linewidth=0.8, label="text position")
    for start in data["starts"][1:]:
        _ = axis.axvline(start, color=style.RULE, linewidth=0.5, zorder=0)
    top = 1.25 * max(y for _, y in text)  # room for the legend
    _ = axis.set(xlabel="token index", ylabel="position", xlim=(0, data["tokens"]), ylim=(0, top))
    axis.set_xticks([*range(0, data["tokens"], 2000)])
    style.legend(axis, loc="upper right", ncols=4, fontsize=6.5)
    style.spare(axis)
