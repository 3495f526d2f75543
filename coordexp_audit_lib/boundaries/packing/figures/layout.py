"""Figures of the packing boundary: the layout of a plan, and the token ribbon of a packed batch."""

from __future__ import annotations

from typing import Any

from coordexp_audit_lib.boundaries.packing import cases
from coordexp_audit_lib.boundaries.packing.predicates import plans
from coordexp_audit_lib.boundaries.packing.surfaces import BATCH, PLAN, STREAM, BatchRequest, PlanRequest, StreamRequest
from coordexp_audit_lib.core.claim import Context, exhibit
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.kit.mrope import runs
from coordexp_audit_lib.kit.profile import Profile
from coordexp_audit_lib.report.style import BLUE, DIM, EDGE, GREEN, GREY, LIGHT, ORANGE, PALE, SKY, VERMILION, WHITE

SAMPLES, SHOWN = 240, 30
ROLES = ("prompt and markup", "image pads", "assistant text", "coordinate tokens", "padding")
ROLE_COLOURS = (LIGHT, SKY, BLUE, ORANGE, WHITE)


@exhibit("packing.layout")
def layout(ctx: Context) -> dict[str, Any]:
    """A plan for samples of realistic length at the configs' global_max_length: packs fullest first, with their fills.

    Static packing answers; where a tree has only dynamic packing, that does.
    """
    lengths = cases.realistic_lengths(ctx.rng("layout"), SAMPLES)
    capacity = cases.GLOBAL_MAX_LENGTH
    try:
        packs, by = ctx.value(PLAN, PlanRequest(lengths, capacity)).packs, "static packing"
    except SurfaceUnbound:
        packs, by = ctx.value(STREAM, StreamRequest(lengths, capacity, buffer_size=512)).packs, "dynamic packing"
    pieces = sorted(([lengths[i] for i in p] for p in packs), key=lambda p: (-sum(p), p))
    return {
        "by": by,
        "capacity": capacity,
        "samples": len(lengths),
        "tokens": sum(lengths),
        "packs": pieces,
        "fills": [round(sum(p) / capacity, 4) for p in pieces],
        "lower_bound": plans.lower_bound(lengths, capacity),
        "single_samples": sum(len(p) == 1 for p in pieces),
    }


@exhibit("packing.ribbon")
def ribbon(ctx: Context) -> dict[str, Any]:
    """One packed batch, token by token: role, supervision, segment, text position and mRoPE position."""
    chosen = cases.samples()
    request = BatchRequest([chosen[i] for i in (0, 1, 6, 4)], 400)
    batch = max(ctx.value(BATCH, request).batches, key=lambda b: len(b.members))
    row = cases.row_of(batch, profile=cases.profile_of(ctx))
    ids, labels, text = row.flat("input_ids"), row.labels, row.text_positions
    if ids is None or labels is None or text is None or row.mrope is None:
        raise SurfaceUnbound("the batch lacks tokens, labels or positions", where=BATCH.name)
    supervised, pads = labels != row.profile.ignore_index, ids == row.profile.image_pad
    starts = [int(s) for s in row.segments]
    ends = [*starts[1:], row.length or 0]
    return {
        "roles": [_role(int(t), bool(y), row.profile) for t, y in zip(ids, supervised, strict=True)],
        "supervised": supervised.astype(int).tolist(),
        "starts": starts,
        "ends": ends,
        "text_positions": text.tolist(),
        "mrope": row.mrope.tolist(),
        "segments": [
            {
                "segment": i,
                "start": a,
                "tokens": b - a,
                "supervised": int(supervised[a:b].sum()),
                "runs": len(runs(supervised[a:b])[0]),
                "image pads": int(pads[a:b].sum()),
            }
            for i, (a, b) in enumerate(zip(starts, ends, strict=True))
        ],
    }


def _role(token: int, supervised: bool, profile: Profile) -> int:
    """Index into `ROLES`."""
    if token == profile.pad:
        return 4
    if token == profile.image_pad:
        return 1
    first = profile.first_coordinate
    coordinate = first is not None and first <= token < first + profile.coordinates
    return 0 if not supervised else 3 if coordinate else 2


def shown_packs(data: dict[str, Any]) -> list[int]:
    """Which packs the layout draws: the fullest, the emptiest, and evenly between, at most thirty."""
    n = len(data["packs"])
    return list(range(n)) if n <= SHOWN else sorted({round(k * (n - 1) / (SHOWN - 1)) for k in range(SHOWN)})


def draw_layout(data: dict[str, Any]) -> Any:
    """Packs as stacked segments up to the capacity, and all fill ratios against the lower bound."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(7.0, 4.0), width_ratios=(1.7, 1), layout="constrained")
    chosen = shown_packs(data)
    for y, number in enumerate(chosen):
        at = 0
        for k, piece in enumerate(data["packs"][number]):
            _ = left.barh(y, piece, left=at, height=0.82, color=(BLUE, SKY)[k % 2], edgecolor="white", linewidth=0.4)
            at += piece
    _ = left.axvline(data["capacity"], color=VERMILION, linewidth=1.2)
    _ = left.text(data["capacity"], -1.2, "packing_length", ha="right", va="bottom", color=VERMILION, fontsize=7)
    _ = left.set(xlabel="tokens", ylabel="pack, fullest first", xlim=(0, data["capacity"] * 1.02))
    _ = left.set_ylim(len(chosen) - 0.4, -1.4)
    ticks = range(0, len(chosen), 5)
    _ = left.set_yticks(list(ticks), [str(chosen[t]) for t in ticks])
    fills, bound = data["fills"], data["lower_bound"]
    _ = right.step(range(len(fills)), fills, where="mid", color=BLUE, linewidth=1.4, label="each pack")
    floor = max(0.0, int(10 * min(fills)) / 10 - 0.1)
    best = data["tokens"] / (bound * data["capacity"])
    _ = right.axhline(best, color=GREEN, linewidth=1.2, linestyle="--", label=f"mean if {bound} packs (least)")
    _ = right.axhline(sum(fills) / len(fills), color=ORANGE, linewidth=1.2, label=f"mean of {len(fills)} packs")
    _ = right.set(xlabel="pack, fullest first", ylabel="fill ratio", ylim=(floor, 1.02), xlim=(0, len(fills) - 1))
    _ = right.legend(loc="lower left", fontsize=7, frameon=False)
    _tidy(left, right)
    return figure


def draw_ribbon(data: dict[str, Any]) -> Any:
    """Strips of role, supervision and segment over the positions, along the token index."""
    import matplotlib.pyplot as plt
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    n = len(data["roles"])
    heights = (0.55, 0.3, 0.3, 1.6)
    figure, axes = plt.subplots(4, 1, figsize=(7.0, 3.6), height_ratios=heights, sharex=True, layout="constrained")
    numbers = [k % 2 for k, (a, b) in enumerate(zip(data["starts"], data["ends"], strict=True)) for _ in range(b - a)]
    strips = (
        ("role", data["roles"], ROLE_COLOURS),
        ("label", data["supervised"], (PALE, VERMILION)),
        ("segment", numbers, (GREY, DIM)),
    )
    for axis, (name, values, colours) in zip(axes, strips, strict=False):
        scale = {"cmap": ListedColormap(colours), "vmin": -0.5, "vmax": len(colours) - 0.5}
        _ = axis.imshow([values], aspect="auto", extent=(0, n, 0, 1), interpolation="nearest", **scale)
        _ = axis.set_yticks([0.5], [name])
        axis.tick_params(axis="both", length=0)
    for k, (a, b) in enumerate(zip(data["starts"], data["ends"], strict=True)):
        _ = axes[2].text((a + b) / 2, 0.5, str(k), ha="center", va="center", fontsize=7, color="white")
    last, centres = axes[3], [i + 0.5 for i in range(n)]
    for name, row, colour, dashes in (("width", 2, GREEN, ":"), ("height", 1, ORANGE, "--"), ("temporal", 0, SKY, "-")):
        look = {"color": colour, "linestyle": dashes, "linewidth": 1.1}
        _ = last.plot(centres, data["mrope"][row], label=f"mRoPE {name}", **look)
    _ = last.plot(centres, data["text_positions"], color=BLUE, linewidth=1.1, label="text position")
    _ = last.set(xlabel="token index", ylabel="position", xlim=(0, n), ylim=(0, None))
    _ = last.legend(loc="upper right", ncols=2, fontsize=7, framealpha=1, edgecolor="white")
    for axis in axes:
        for start in data["starts"][1:]:
            _ = axis.axvline(start, color="black", linewidth=0.8)
    present = sorted(set(data["roles"]))
    patches = [Patch(facecolor=ROLE_COLOURS[r], edgecolor=EDGE, label=ROLES[r], linewidth=0.4) for r in present]
    patches.append(Patch(facecolor=VERMILION, label="supervised label"))
    _ = figure.legend(handles=patches, loc="outside upper center", ncols=len(patches), fontsize=7, frameon=False)
    _tidy(last)
    return figure


def _tidy(*axes: Any) -> None:
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
