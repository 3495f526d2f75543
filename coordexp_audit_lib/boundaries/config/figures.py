"""What the notebook shows of a config: where each value comes from, and what became of the keys and values tried.

Exhibits ask the target and give builtins; the drawing functions take that data and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from coordexp_audit_lib.boundaries.config.cases import variations
from coordexp_audit_lib.boundaries.config.cases.bench import Bench
from coordexp_audit_lib.boundaries.config.cases.edits import leaves
from coordexp_audit_lib.boundaries.config.predicates.messages import Tried
from coordexp_audit_lib.core.claim import Context, exhibit
from coordexp_audit_lib.kit.nested import dotted, get, lookup
from coordexp_audit_lib.report import style
from coordexp_audit_lib.report.figure import figure
from coordexp_audit_lib.report.text import shown, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TOP_LEVEL = "(top level)"

VERDICTS = {
    "refused, path and remedy": style.GREEN,
    "refused, path but no remedy": style.YELLOW,
    "refused, no path": style.ORANGE,
    "accepted in silence": style.VERMILION,
}


@exhibit("config.resolution")
def resolution(ctx: Context) -> dict[str, Any]:
    """Which file of the chain sets how many values in which section, and the values that files set over each other.

    files: root first. counts: values set. kept: values that are the resolved config's. overridden: one entry for each
    key that two or more files set, with the values in order.
    """
    bench = Bench(ctx)
    files = bench.chain.files[::-1]
    sections = sorted({_section(p) for f in files for p in leaves(f.raw)})
    set_by: dict[str, list[tuple[str, Any]]] = {}
    counts = [Counter(_section(p) for p in leaves(f.raw)) for f in files]
    for file in files:
        for path in leaves(file.raw):
            set_by.setdefault(dotted(path), []).append((file.path, lookup(file.raw, path)))
    last = {key: by[-1][0] for key, by in set_by.items()}
    kept = [Counter(_section_of(k) for k, path in last.items() if path == f.path) for f in files]
    over = [{"key": key, "values": [list(pair) for pair in by]} for key, by in sorted(set_by.items()) if len(by) > 1]
    return {
        **{"files": [f.path for f in files], "extends": {f.path: f.extends for f in files}, "sections": sections},
        "counts": [[c[s] for s in sections] for c in counts],
        "kept": [[k[s] for s in sections] for k in kept],
        "overridden": over,
    }


def _section(path: tuple[str | int, ...]) -> str:
    return str(path[0]) if len(path) > 1 else TOP_LEVEL


def _section_of(key: str) -> str:
    return key.split(".", maxsplit=1)[0] if "." in key else TOP_LEVEL


def verdict_of(t: Tried) -> str:
    """One of `VERDICTS`."""
    if not t.refused:
        return "accepted in silence"
    if not t.named:
        return "refused, no path"
    return "refused, path and remedy" if t.guided else "refused, path but no remedy"


@exhibit("config.unknown_keys")
def unknown_keys(ctx: Context) -> dict[str, Any]:
    """Every mapping node with the verdict on an unknown key in it, and the counts by section."""
    bench = Bench(ctx)
    nodes: dict[str, str] = {}
    order = list(VERDICTS)
    for stage2 in (True, False):
        for t in variations.unknown_keys(bench, variations.nodes_of(bench, stage2=stage2)):
            node = t.path.rpartition(".")[0]
            nodes[node] = max(nodes.get(node, order[0]), verdict_of(t), key=order.index)
    sections = sorted({n.split(".")[0] for n in nodes})
    counted = Counter((n.split(".")[0], v) for n, v in nodes.items())
    return {"nodes": nodes, "sections": sections, "counts": {v: [counted[s, v] for s in sections] for v in VERDICTS}}


@exhibit("config.bad_values")
def bad_values(ctx: Context) -> dict[str, Any]:
    """Keys against kinds of bad value: `refused`, or what the value was loaded as."""
    bench = Bench(ctx)
    table: dict[str, dict[str, str]] = {}
    for bad in variations.bad_values(bench):
        answer = bench.load_with({bad.path: bad.value})
        right = bad.tolerated(answer)
        loaded = "refused" if right else _loaded(get(answer.value.config, bad.path))
        known = table.setdefault(bad.path, {})
        kind = "out of range" if bad.why not in KINDS else bad.why
        if known.get(kind, "refused") == "refused":
            known[kind] = loaded
    return {"kinds": list(KINDS), "table": table}


def _loaded(value: Any) -> str:
    """A loaded value; a text is quoted, so that it is told from the number that it reads like."""
    return value if value in (".nan", ".inf", "-.inf") else repr(value)


KINDS = ("NaN", "an infinity", "a text", "a bool", "a fraction for an int", "out of range")


@exhibit("config.compared")
def compared(ctx: Context) -> dict[str, Any]:
    """The configs that the pipeline is anchored to, side by side: their values as resolved, by dotted path.

    rows: path, and for each config its value as text, "" where it has none; only paths on which they differ. sections:
    of each the number of paths that are alike, that differ, and that one of them alone has.
    """
    names = [ctx.target.config_path(c) for c in ctx.target.pipeline().configs]
    names = names if len(names) > 1 else [ctx.target.config_path(ctx.config)]
    merged = [Bench(ctx, name).chain.merged for name in names]
    told = [{dotted(p): shown(lookup(m, p), 60) for p in leaves(m)} for m in merged]
    paths = sorted({path for one in told for path in one})
    counted: dict[str, list[int]] = {}
    rows = []
    for path in paths:
        values = [one.get(path, "") for one in told]
        alone = sum(path in one for one in told) < len(told)
        kind = 2 if alone else 0 if len(set(values)) == 1 else 1
        counted.setdefault(_section_of(path), [0, 0, 0])[kind] += 1
        if kind:
            rows.append([path, *values])
    return {"configs": names, "rows": rows, "sections": counted}


def overridden_rows(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of a table: the key, and each file's value in the order in which they replace each other."""
    return [
        (entry["key"], "; ".join(f"{short(path)}: {shown(value, 60)}" for path, value in entry["values"]))
        for entry in data["overridden"]
    ]


def node_rows(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of a table: every mapping node and its verdict, the worst first."""
    order = list(VERDICTS)
    return sorted(data["nodes"].items(), key=lambda nv: (-order.index(nv[1]), nv[0]))


def value_rows(data: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Rows of a table: key, then for each kind of bad value what became of it, `-` where none was tried."""
    return [(key, *(data["table"][key].get(kind, "-") for kind in data["kinds"])) for key in sorted(data["table"])]


def short(path: str) -> str:
    """A config's path without the folder that all have in common."""
    return path.removeprefix("configs/")


@figure(
    "config.resolution",
    "Where values come from: files of the chain, the most basic above, against sections. A number counts the "
    "values that a file sets; "
    "where later files replace some, it says how many stay, and the cell is lighter.",
    "A grid of files by sections with the number of values that each file sets.",
)
def draw_resolution(data: Mapping[str, Any]) -> Figure:
    """Files against sections: how many values each file sets; the shade is the share that survives resolution."""
    counts, kept = np.array(data["counts"]), np.array(data["kept"])
    fig, ax = _axes(1.0 + 0.42 * len(counts))
    edges = [np.arange(n + 1) - 0.5 for n in counts.shape[::-1]]
    _ = ax.pcolormesh(*edges, kept / np.maximum(counts, 1), cmap="Blues", vmin=0, vmax=1.6)  # numbers stay readable
    ax.invert_yaxis()
    for r, c in np.argwhere(counts):
        text = str(counts[r, c]) if kept[r, c] == counts[r, c] else f"{kept[r, c]} of {counts[r, c]}"
        ax.text(c, r, text, ha="center", va="center", fontsize=7)
    _ticks(ax.set_xticks, ax.set_xticklabels, data["sections"], rotation=40, ha="right")
    _ticks(ax.set_yticks, ax.set_yticklabels, [short(f) for f in data["files"]])
    _grid(ax, *counts.shape)
    return fig


@figure(
    "config.unknown_keys",
    lambda data: (
        f"What became of an unknown key in each of {len(data['nodes'])} mappings of the configuration, by "
        "section. Anything but a refusal "
        "that names the whole path is a typing error that trains."
    ),
    lambda data: (
        "Stacked bars, one for each section: "
        + "; ".join(f"{sum(n)} {verdict}" for verdict, n in data["counts"].items() if sum(n))
    ),
)
def draw_unknown_keys(data: Mapping[str, Any]) -> Figure:
    """Sections against mapping nodes, stacked by verdict."""
    sections = data["sections"]
    fig, ax = _axes(0.8 + 0.2 * len(sections))
    left = [0] * len(sections)
    for verdict, colour in VERDICTS.items():
        counts = data["counts"][verdict]
        if not sum(counts):
            continue
        _ = ax.barh(range(len(sections)), counts, left=left, color=colour, label=verdict, edgecolor="black", lw=0.4)
        left = [a + b for a, b in zip(left, counts, strict=True)]
    _ticks(ax.set_yticks, ax.set_yticklabels, sections)
    ax.invert_yaxis()
    ax.set_xlabel("mapping nodes that an unknown key was put into", fontsize=8)
    ax.tick_params(axis="x", labelsize=7)
    ax.set_xlim(0, max(left) * 1.04)
    _ = ax.legend(fontsize=7, loc="lower right", framealpha=1)
    ax.spines[["top", "right"]].set_visible(False)
    return fig


@figure(
    "config.bad_values",
    "Values that a key cannot have, by key and kind. A circle was refused; a square got through, and beside it "
    "stands what it was loaded as.",
    "A grid of keys by kinds of bad value, with a circle or a square for each that was tried.",
    main=True,
)
def draw_bad_values(data: Mapping[str, Any]) -> Figure:
    """Keys against kinds of bad value: a circle was refused, a square accepted, with what it was loaded as."""
    keys, kinds = sorted(data["table"]), data["kinds"]
    fig, ax = _axes(0.9 + 0.19 * len(keys))
    for r, key in enumerate(keys):
        for c, kind in enumerate(kinds):
            loaded = data["table"][key].get(kind)
            if loaded is None:
                continue
            colour = VERDICTS["refused, path and remedy" if loaded == "refused" else "accepted in silence"]
            _ = ax.scatter(c, r, marker="o" if loaded == "refused" else "s", s=26, color=colour)
            if loaded != "refused":
                label = visible(loaded)
                clear = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
                ax.text(c + 0.15, r, label, fontsize=6, va="center", parse_math=False, bbox=clear)
    _ticks(ax.set_xticks, ax.set_xticklabels, kinds, rotation=30, ha="right")
    _ticks(ax.set_yticks, ax.set_yticklabels, keys)
    ax.set_xlim(-0.5, len(kinds) - 0.3)
    ax.set_ylim(len(keys) - 0.5, -0.5)
    ax.grid(axis="y", lw=0.3)
    ax.set_axisbelow(True)
    return fig


@figure(
    "config.compared",
    lambda data: (
        f"The values of {' and '.join(short(c) for c in data['configs'])} side by side, by section: alike, "
        "different, and in one of "
        f"them alone. {len(data['rows'])} values are not alike; the table has them."
    ),
    lambda data: (
        "Stacked bars, one for each section: "
        + "; ".join(
            f"{name} {a} alike, {b} different, {c} in one alone" for name, (a, b, c) in data["sections"].items()
        )
    ),
)
def draw_compared(data: Mapping[str, Any]) -> Figure:
    """Sections against numbers of values, stacked by whether the configs agree."""
    names = list(data["sections"])
    fig, ax = _axes(0.9 + 0.2 * len(names))
    left = [0] * len(names)
    looks = (("alike", style.LIGHT, ""), ("different", style.BLUE, ""), ("in one alone", style.ORANGE, "//"))
    for k, (label, colour, hatch) in enumerate(looks):
        counts = [data["sections"][n][k] for n in names]
        look: dict[str, Any] = {"color": colour, "edgecolor": style.WHITE, "hatch": hatch, "linewidth": 0.4}
        _ = ax.barh(range(len(names)), counts, left=left, label=label, **look)
        left = [a + b for a, b in zip(left, counts, strict=True)]
    _ticks(ax.set_yticks, ax.set_yticklabels, names)
    ax.invert_yaxis()
    ax.set_xlabel("values of the resolved configuration", fontsize=8)
    ax.tick_params(axis="x", labelsize=7)
    style.legend(ax, loc="lower right")
    style.spare(ax)
    return fig


def _axes(height: float) -> tuple[Figure, Axes]:
    """A figure of text width; height in inches."""
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(6.4, height), layout="constrained")


def _ticks(place: Any, label: Any, texts: list[str], **style: Any) -> None:
    """Label an axis; what stands in a config is text, never mathematics."""
    place(range(len(texts)))
    for t in label([visible(text) for text in texts], fontsize=7, **style):
        t.set_parse_math(False)


def _grid(ax: Axes, rows: int, columns: int) -> None:
    """White lines between cells."""
    ax.set_xticks([c - 0.5 for c in range(1, columns)], minor=True)
    ax.set_yticks([r - 0.5 for r in range(1, rows)], minor=True)
    ax.grid(which="minor", color="white", lw=1.5)
    ax.tick_params(which="both", length=0)
    ax.spines[:].set_visible(False)
