"""What the notebook shows of a config: where each value comes from, and what became of the keys and values tried.

Exhibits ask the target and give builtins; the drawing functions take that data and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from coordexp_audit_lib.config.bench import Bench
from coordexp_audit_lib.config.chain import dotted, leaves, lookup
from coordexp_audit_lib.config.keys import Tried, nodes_of, try_unknown_keys
from coordexp_audit_lib.config.ranges import cases, tolerated
from coordexp_audit_lib.core.invariant import Context, exhibit
from coordexp_audit_lib.report.text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNSET: dict[str, Any] = {}
TOP_LEVEL = "(top level)"

# Okabe and Ito's palette: told apart by every kind of colour vision, and by lightness in print.
VERDICTS = {
    "refused, path and cure": "#009E73",
    "refused, path but no cure": "#F0E442",
    "refused, no path": "#E69F00",
    "accepted in silence": "#D55E00",
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
    return {
        "files": [f.path for f in files],
        "extends": {f.path: f.extends for f in files},
        "sections": sections,
        "counts": [[c[s] for s in sections] for c in counts],
        "kept": [[k[s] for s in sections] for k in kept],
        "overridden": [
            {"key": key, "values": [[path, value] for path, value in by]}
            for key, by in sorted(set_by.items())
            if len(by) > 1
        ],
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
    return "refused, path and cure" if t.guided else "refused, path but no cure"


@exhibit("config.unknown_keys")
def unknown_keys(ctx: Context) -> dict[str, Any]:
    """Every mapping node with the verdict on an unknown key in it, and the counts by section."""
    bench = Bench(ctx)
    nodes: dict[str, str] = {}
    order = list(VERDICTS)
    for stage2 in (True, False):
        for t in try_unknown_keys(bench, nodes_of(bench, stage2=stage2)):
            node = t.path.rpartition(".")[0]
            nodes[node] = max(nodes.get(node, order[0]), verdict_of(t), key=order.index)
    sections = sorted({n.split(".")[0] for n in nodes})
    counted = Counter((n.split(".")[0], v) for n, v in nodes.items())
    return {
        "nodes": nodes,
        "sections": sections,
        "counts": {v: [counted[s, v] for s in sections] for v in VERDICTS},
    }


@exhibit("config.bad_values")
def bad_values(ctx: Context) -> dict[str, Any]:
    """Keys against kinds of bad value: `refused`, or what the value was loaded as."""
    bench = Bench(ctx)
    table: dict[str, dict[str, str]] = {}
    for bad in cases(bench):
        answer = bench.load_with({bad.path: bad.value})
        right = tolerated(bad, answer)
        loaded = "refused" if right else repr(lookup(answer.value.config, tuple(bad.path.split("."))))
        known = table.setdefault(bad.path, {})
        kind = "out of range" if bad.why not in KINDS else bad.why
        if known.get(kind, "refused") == "refused":
            known[kind] = loaded
    return {"kinds": list(KINDS), "table": table}


KINDS = ("NaN", "an infinity", "a text", "a bool", "a fraction for an int", "out of range")


def draw_resolution(data: Mapping[str, Any], ax: Axes) -> None:
    """Files against sections: how many values each file sets; the shade is the share that survives resolution."""
    rows, columns = len(data["files"]), len(data["sections"])
    share = [
        [kept / count if count else 0.0 for kept, count in zip(data["kept"][r], data["counts"][r], strict=True)]
        for r in range(rows)
    ]
    _ = ax.imshow(share, cmap="Blues", vmin=0, vmax=1.6, aspect="auto")  # 1.6: black numbers stay readable
    for r in range(rows):
        for c in range(columns):
            count, kept = data["counts"][r][c], data["kept"][r][c]
            if count:
                text = str(count) if kept == count else f"{kept} of {count}"
                ax.text(c, r, text, ha="center", va="center", fontsize=7)
    _ticks(ax.set_xticks, ax.set_xticklabels, data["sections"], rotation=40, ha="right")
    _ticks(ax.set_yticks, ax.set_yticklabels, [f.removeprefix("configs/") for f in data["files"]])
    _grid(ax, rows, columns)


def draw_unknown_keys(data: Mapping[str, Any], ax: Axes) -> None:
    """Sections against mapping nodes, stacked by verdict."""
    sections = data["sections"]
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


def draw_bad_values(data: Mapping[str, Any], ax: Axes) -> None:
    """Keys against kinds of bad value; a marked cell was accepted, with what it was loaded as."""
    keys, kinds = sorted(data["table"]), data["kinds"]
    for r, key in enumerate(keys):
        for c, kind in enumerate(kinds):
            loaded = data["table"][key].get(kind)
            if loaded is None:
                continue
            colour = VERDICTS["refused, path and cure" if loaded == "refused" else "accepted in silence"]
            _ = ax.scatter(c, r, marker="o" if loaded == "refused" else "s", s=26, color=colour)
            if loaded != "refused":
                shown = visible(loaded).strip("'")
                clear = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
                ax.text(c + 0.15, r, shown, fontsize=6, va="center", parse_math=False, bbox=clear)
    _ticks(ax.set_xticks, ax.set_xticklabels, kinds, rotation=30, ha="right")
    _ticks(ax.set_yticks, ax.set_yticklabels, keys)
    ax.set_xlim(-0.5, len(kinds) - 0.3)
    ax.set_ylim(len(keys) - 0.5, -0.5)
    ax.grid(axis="y", lw=0.3)
    ax.set_axisbelow(True)


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
