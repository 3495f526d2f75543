"""Figures of the packing boundary: the layout of a plan, and the token ribbon of a packed batch."""

from __future__ import annotations

from typing import Any

from coordexp_audit_lib.boundaries.packing import cases
from coordexp_audit_lib.boundaries.packing.figures.ribbon import draw_ribbon, of_row, segments
from coordexp_audit_lib.boundaries.packing.predicates import plans
from coordexp_audit_lib.boundaries.packing.surfaces import BATCH, PLAN, STREAM, BatchRequest, PlanRequest, StreamRequest
from coordexp_audit_lib.core.claim import Context, exhibit
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.report.figure import figure
from coordexp_audit_lib.report.style import BLUE, GREEN, ORANGE, SKY, VERMILION, legend, spare

SAMPLES, SHOWN = 240, 30


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
    data = of_row(row)
    if not data or row.labels is None or data["text_positions"] is None or data["mrope"] is None:
        raise SurfaceUnbound("the batch lacks tokens, labels or positions", where=BATCH.name)
    return data | {"segments": segments(data, row)}


@exhibit("packing.fills")
def fills(ctx: Context) -> dict[str, Any]:
    """The fill of each pack that a claim's requests gave, by packer, and the best mean that any packing could have.

    The requests are those of `packing.each_once`; of each packer those of most samples are shown.
    """
    asked = Context(ctx.target, ctx.config, ctx.seed, "packing.each_once")
    largest: dict[str, tuple[int, list[int], int, list[float]]] = {}
    for question, request, answer in cases.each_plan(asked):
        if answer.refused:
            continue
        lengths, capacity = request.lengths, request.packing_length
        fitting = [n for n in lengths if n <= capacity]
        fills_ = [sum(lengths[i] for i in p) / capacity for p in answer.value.packs if p]
        known = largest.get(cases.PACKERS[question])
        if fills_ and (known is None or len(lengths) > known[0]):
            largest[cases.PACKERS[question]] = (len(lengths), fitting, capacity, fills_)
    rows = []
    for name, (samples, fitting, capacity, found) in largest.items():
        least = plans.lower_bound(fitting, capacity)
        best = round(sum(fitting) / (least * capacity), 4)
        told = {"name": name, "samples": samples, "capacity": capacity, "least": least, "best": best}
        rows.append({**told, "fills": sorted((round(f, 4) for f in found), reverse=True)})
    return {"packers": rows}


@figure(
    "packing.fills",
    lambda data: (
        "How full packs are, by packer: a mark for each pack, the mean as a bar, and as a dashed line the mean "
        "that no packing of the "
        "same samples can pass. "
        + "; ".join(
            f"{r['name']}: {r['samples']} samples in {len(r['fills'])} packs, at least {r['least']} needed"
            for r in data["packers"]
        )
        + "."
    ),
    "A row of marks for each packer along the fill ratio, with its mean and the bound.",
)
def draw_fills(data: dict[str, Any]) -> Any:
    """One lane a packer, fill ratio along it."""
    import matplotlib.pyplot as plt

    rows = data["packers"]
    figure, axis = plt.subplots(figsize=(7.0, 0.9 + 0.55 * max(len(rows), 1)), layout="constrained")
    for y, row in enumerate(rows):
        _ = axis.plot(row["fills"], [y] * len(row["fills"]), "|", color=BLUE, markersize=12, markeredgewidth=1.2)
        mean = sum(row["fills"]) / len(row["fills"])
        _ = axis.plot([mean, mean], [y - 0.32, y + 0.32], color=ORANGE, linewidth=3, label="mean" if not y else "")
        best: dict[str, Any] = {
            "color": GREEN,
            "linestyle": "--",
            "linewidth": 1.6,
            "label": "best mean there is" if not y else "",
        }
        _ = axis.plot([row["best"]] * 2, [y - 0.4, y + 0.4], **best)
    _ = axis.set_yticks(range(len(rows)), [f"{r['name']}\n{len(r['fills'])} packs" for r in rows], fontsize=7.5)
    _ = axis.set(xlabel="fill ratio", ylim=(len(rows) - 0.4, -0.6), xlim=(None, 1.02))
    legend(figure, loc="outside upper center", ncols=2)
    spare(axis)
    return figure


def shown_packs(data: dict[str, Any]) -> list[int]:
    """Which packs the layout draws: the fullest, the emptiest, and evenly between, at most thirty."""
    n = len(data["packs"])
    return list(range(n)) if n <= SHOWN else sorted({round(k * (n - 1) / (SHOWN - 1)) for k in range(SHOWN)})


@figure(
    "packing.layout",
    lambda data: (
        f"{data['samples']} samples of realistic length in {len(data['packs'])} packs by {data['by']}; no packing "
        "needs fewer than "
        f"{data['lower_bound']}. No bar passes the line of the capacity; right, the fill of every pack."
    ),
    "Left, packs as stacked bars of samples up to the capacity; right, the fill of each pack, with the mean and "
    "the best mean there is.",
)
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
    spare(left, right)
    return figure


__all__ = ["draw_fills", "draw_layout", "draw_ribbon", "fills", "layout", "ribbon", "shown_packs"]
