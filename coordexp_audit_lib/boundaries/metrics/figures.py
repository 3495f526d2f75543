"""What a notebook shows of a log: channels and ratio, drops by reason, rollout seconds, broken claims by step.

Exhibits and `series` give numbers; `draw_…` functions draw those numbers and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coordexp_audit_lib.boundaries.metrics import cases
from coordexp_audit_lib.boundaries.metrics.artifact.jsonl import read_jsonl
from coordexp_audit_lib.boundaries.metrics.predicates.log import Log, Row
from coordexp_audit_lib.boundaries.metrics.predicates.series import Interval, shares
from coordexp_audit_lib.boundaries.metrics.predicates.vocabulary import vocabulary
from coordexp_audit_lib.boundaries.metrics.surfaces import LOG, log_of
from coordexp_audit_lib.core.claim import Context, Ledger, claims_on, exhibit
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.core.problem import Problem, Undecided
from coordexp_audit_lib.kit.schedule import seed_base
from coordexp_audit_lib.report import style
from coordexp_audit_lib.report.figure import figure
from coordexp_audit_lib.report.text import visible

REAL = Path(__file__).resolve().parents[2] / "resources" / "stage2_logging.jsonl"
RUNNING = "time/rollout_total_time"
MAX_REASONS = 8


@exhibit("metrics.run")
def run(ctx: Context) -> dict[str, Any]:
    """What the target's own trainer logs in a short run on two ranks; empty where it can't be run."""
    try:
        return series(log_of(ctx.value(LOG, cases.runs()[0][1]), vocabulary(ctx.contract)))
    except SurfaceUnbound as error:
        return {"unbound": str(error)}


def real_log() -> Log:
    """The log of a real run that is packaged with the library."""
    return read_jsonl(REAL, vocabulary())


def series(log: Log) -> dict[str, Any]:
    """The numbers behind the figures: one entry for each training row."""
    rows, words = log.train, log.words
    channels = [r.channel for r in rows]
    possible = Interval()
    follows = all(possible.narrow(n, channels[:n].count("B")) for n in range(1, len(channels) + 1))
    return {
        "source": log.source,
        "steps": [r.step or r.line for r in rows],
        "channels": channels,
        "realized": [_value(r, words.ratio) for r in rows],
        "share": [round(s, 6) for s in shares(channels)],
        "schedule": [round(float(possible.low), 6), round(min(1.0, float(possible.high)), 6)] if follows else None,
        "reasons": _reasons(rows, words.reason),
        "dropped": [_value(r, words.dropped) for r in rows],
        "generate_s": [_value(r, words.generate) for r in rows],
        "running_s": [_value(r, RUNNING) for r in rows],
        "broken": broken(log),
    }


def _value(row: Row, key: str) -> float | None:
    found = row.values.get(key)
    return None if found is None else round(found, 6)


def _reasons(rows: list[Row], prefix: str) -> dict[str, list[float]]:
    """Dropped records by reason, the most frequent first; the rest in one, if there are more than eight."""
    found = sorted({k for r in rows for k in r.values if k.startswith(prefix)})
    counts = {k.removeprefix(prefix): [r.values.get(k, 0.0) for r in rows] for k in found}
    ordered = sorted((k for k in counts if any(counts[k])), key=lambda k: (-sum(counts[k]), k))
    shown = {k: counts[k] for k in ordered[:MAX_REASONS]}
    if rest := ordered[MAX_REASONS:]:
        shown[f"{len(rest)} more"] = [sum(column) for column in zip(*(counts[k] for k in rest), strict=True)]
    return shown


def judged(log: Log) -> Iterator[tuple[str, list[Problem], str]]:
    """For each claim on logs its problems, or why the log can't tell."""
    for claim in (c for c in claims_on(Log, "metrics") if c.of_targets):
        try:
            yield claim.id, list(claim.predicates[Log](log, Ledger())), ""
        except Undecided as error:
            yield claim.id, [], str(error)


def broken(log: Log) -> dict[str, list[int]]:
    """For each claim, how many metrics break it at each training row; no entry where the log can't tell."""
    steps = [r.step or r.line for r in log.train]
    found = {claim: [p.counterexample["steps"] for p in problems] for claim, problems, why in judged(log) if not why}
    return {claim: [sum(step in at for at in found[claim]) for step in steps] for claim in found}


def subjects(log: Log) -> list[tuple[str, str, str, str]]:
    """Table rows: claim, metric, the steps at fault, and the first message."""
    made = []
    for claim, problems, why in judged(log):
        if why:
            made.append((claim, "-", "-", f"can't tell: {why}"))
        for subject in dict.fromkeys(p.subject for p in problems):
            mine = [p for p in problems if p.subject == subject]
            steps = sorted({step for p in mine for step in p.counterexample["steps"]})
            made.append((claim, subject, ", ".join(map(str, steps)), mine[0].message))
    return made


def numbers(data: dict[str, Any]) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """The table behind `draw_log`: a row for each step."""
    names_ = ("step", "channel", "b_ratio_realized", "share of B so far", "N_drop_invalid", "sum of reasons")
    rows = []
    for n, step in enumerate(data["steps"]):
        reasons = sum(counts[n] for counts in data["reasons"].values())
        shown = [data[k][n] for k in ("realized", "share", "dropped")]
        seconds = [data[k][n] for k in ("generate_s", "running_s")]
        rows.append((step, data["channels"][n], *shown, reasons, *seconds))
    return (*names_, "rollout_generate_s", "rollout_total_time"), rows


def averaged(log: Log, seed: int) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """For each Channel-B step: the rollout seed as it must be and as logged, and the matches likewise."""
    rows = []
    for row in log.train:
        keys = (log.words.seed, "rollout/matched_for_supervision", "rollout/matched_for_supervision_count")
        if row.channel != "B" or row.step is None or not all(k in row.values for k in (*keys, "train/micro_steps")):
            continue
        logged, matches, counted = (row.values[k] for k in keys)
        exact = seed_base(seed, row.step - 1)
        samples, micro = row.values.get("train/samples_total", 1.0), row.values["train/micro_steps"]
        share = f"{logged / exact * samples:.3f}/{samples:.0f}"
        factor = round(counted / matches, 3) if matches else None
        rows.append((row.step, exact, f"{logged:.6f}", share, int(matches), int(counted), factor, int(micro)))
    return ("step", "seed", "logged seed", "share", "matches", "logged count", "factor", "micro-steps"), rows


# ---- drawing ----------------------------------------------------------------------------------------------------

REASON_COLOURS = (*style.CYCLE[:3], style.PURPLE, style.SKY, style.YELLOW, style.VERMILION, style.DIM, style.DARK)
HATCHES = ("", "//", "", "..", "", "xx", "", "\\\\", "")  # as many as colours


@figure(
    "metrics.log",
    lambda data: (
        f"A log of {len(data['steps'])} steps: the channel of each, the share of Channel-B as logged and as "
        "counted, records dropped by reason, "
        "and seconds. Lines that should lie on each other and do not are averages of things that must not be averaged."
    ),
    "Four panels over the optimizer steps: channel, share of B, dropped records stacked by reason, and seconds.",
    main=True,
)
def draw_log(data: dict[str, Any]) -> Any:
    """Channels and realised ratio, dropped records by reason, rollout seconds: one step a column, three panels."""
    from matplotlib import pyplot as plt

    wide = min(9.0, 4.0 + 0.45 * len(data["steps"]))
    figure, axes = plt.subplots(
        4, 1, figsize=(wide, 6.6), sharex=True, layout="constrained", height_ratios=(0.35, 2, 2, 2)
    )
    _draw_channels(axes[0], data)
    _draw_ratio(axes[1], data)
    _draw_reasons(axes[2], data)
    _draw_seconds(axes[3], data)
    _ = axes[3].set_xlabel("optimizer step")
    _ = axes[3].set_xticks(_ticks(data["steps"]))
    figure.align_ylabels()
    return figure


@figure(
    "metrics.broken",
    "Claims about a log by step: a square with the number of metrics that break the claim there, a dot where "
    "none does.",
    "A grid of claims by steps with a numbered square where a claim is broken.",
)
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
                _ = axis.scatter(step, y, marker="s", s=170, color=style.VERMILION)
                _ = axis.text(step, y, str(number), ha="center", va="center", fontsize=8, color=style.WHITE)
            else:
                _ = axis.scatter(step, y, marker=".", s=14, color=style.GREY)
    labels = [f"{step}\n{channel}" for step, channel in zip(steps, data["channels"], strict=True)]
    kept = _ticks(steps)
    _ = axis.set_xticks(kept, [labels[steps.index(s)] for s in kept])
    _ = axis.set_yticks(range(len(claims)), [c.removeprefix("metrics.") for c in claims])
    _ = axis.set(ylim=(len(claims) - 0.4, -0.6), xlim=(steps[0] - 0.6, steps[-1] + 0.6))
    _ = axis.set_xlabel("optimizer step and its channel")
    style.bare(axis)
    return figure


def _ticks(steps: list[int]) -> list[int]:
    return steps if len(steps) <= 24 else steps[:: -(-len(steps) // 24)]


def _draw_channels(axis: Any, data: dict[str, Any]) -> None:
    for step, channel in zip(data["steps"], data["channels"], strict=True):
        _ = axis.bar(step, 1, width=1.0, color=style.BLUE if channel == "B" else style.LIGHT, edgecolor=style.WHITE)
        if len(data["steps"]) <= 40:
            ink = style.WHITE if channel == "B" else style.INK
            _ = axis.text(step, 0.5, channel, ha="center", va="center", fontsize=9, color=ink)
    _ = axis.set(yticks=[], ylim=(0, 1), ylabel="channel")
    axis.yaxis.label.set(rotation=0, ha="right", va="center")
    style.bare(axis)


def _draw_ratio(axis: Any, data: dict[str, Any]) -> None:
    steps = data["steps"]
    if data["schedule"]:
        low, high = data["schedule"]
        text = f"b_ratio that gives this order: {low:.3g} to {high:.3g}"
        _ = axis.axhspan(low, max(high, low + 0.004), color=style.GREEN, alpha=0.25, linewidth=0, label=text)
    _ = axis.plot(steps, data["share"], color=style.ORANGE, linewidth=3.5, label="share of B steps so far")
    if logged := _points(data, "realized"):
        look = {"color": style.BLUE, "marker": "o", "markersize": 4, "linewidth": 1}
        _ = axis.plot(*zip(*logged, strict=True), label="b_ratio_realized", **look)
    _ = axis.set(ylim=(-0.05, 1.05), ylabel="share of B")
    style.legend(axis, loc="lower right", fontsize=8)
    style.spare(axis)


def _draw_reasons(axis: Any, data: dict[str, Any]) -> None:
    from matplotlib.ticker import MaxNLocator

    steps, below = data["steps"], [0.0] * len(data["steps"])
    edges = [steps[0] - 0.5, *(s + 0.5 for s in steps)]
    for n, (reason, counts) in enumerate(data["reasons"].items()):
        above = [a + b for a, b in zip(below, counts, strict=True)]
        look = {"facecolor": REASON_COLOURS[n % len(HATCHES)], "hatch": HATCHES[n % len(HATCHES)], "linewidth": 0}
        sides = ([*below, below[-1]], [*above, above[-1]])
        _ = axis.fill_between(edges, *sides, step="post", edgecolor=style.WHITE, label=visible(reason)[:24], **look)
        below = above
    if logged := _points(data, "dropped"):
        look = {"color": style.INK, "marker": "_", "markersize": 17, "linestyle": "none"}
        _ = axis.plot(*zip(*logged, strict=True), label="N_drop_invalid", **look)
    axis.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    _ = axis.set(ylabel="dropped records", ylim=(0, 1.1 * max([*below, 1])))
    _legend(axis)


def _draw_seconds(axis: Any, data: dict[str, Any]) -> None:
    if spent := _points(data, "generate_s"):
        _ = axis.bar(*zip(*spent, strict=True), width=0.8, color=style.SKY, label="rollout_generate_s")
    if running := _points(data, "running_s"):
        look = {"color": style.VERMILION, "marker": "o", "linewidth": 1.2}
        _ = axis.plot(*zip(*running, strict=True), label="rollout_total_time", **look)
    _ = axis.set(ylabel="seconds", ylim=(0, None))
    _legend(axis)


def _points(data: dict[str, Any], key: str) -> list[tuple[int, float]]:
    """(step, value) of the steps that have one."""
    return [(step, value) for step, value in zip(data["steps"], data[key], strict=True) if value is not None]


def _legend(axis: Any) -> None:
    """Beside the panel."""
    if axis.get_legend_handles_labels()[0]:
        style.legend(axis, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    style.spare(axis)
