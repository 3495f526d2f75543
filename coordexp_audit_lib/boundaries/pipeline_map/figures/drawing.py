"""Draws one entrypoint's stages from the top down: title, owners with file and line, and the keys that drive them."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from textwrap import wrap
from typing import Any

from coordexp_audit_lib.report import style
from coordexp_audit_lib.report.text import visible

WIDTH = 7.2  # inches: a page's text width
LINE = 0.081  # inches a line of owners
PAD, GAP, HEAD, FOOT = 0.075, 0.14, 0.54, 0.05
TITLE_X, OWNER_X, KEY_X, EDGE = 0.10, 1.34, 4.66, 6.78
SIZE = 5.0  # points
DPI = 200
OWNER_CHARS, KEY_CHARS = 80, 51


def draw_entrypoint(entry: dict[str, Any]) -> Any:
    """A figure with one box a stage; the rollout server's box is linked to the trainer's in a loop."""
    import matplotlib.pyplot as plt

    heights = [_height(s) for s in entry["stages"]]
    total = HEAD + sum(heights) + GAP * (len(heights) - 1) + FOOT
    width = WIDTH if any(s["id"] == "rollout" for s in entry["stages"]) else EDGE + 0.05
    figure = plt.figure(figsize=(width, total), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(total, 0))
    axes.set_axis_off()
    _text(axes, TITLE_X, 0.14, f"{entry['title']}", 8, weight="bold")
    _text(axes, TITLE_X, 0.30, f"{entry['launcher']}  with  {entry['config']}", 5.6, mono=True, colour=style.DIM)
    for x, text in (
        (TITLE_X, "stage"),
        (OWNER_X, "owners: file:line symbol"),
        (KEY_X, "keys (^ passed through to upstream)"),
    ):
        _text(axes, x, HEAD - 0.07, text, 5.4, colour=style.DIM)
    listed = Counter(k["path"] for s in entry["stages"] for k in s["keys"])
    top, boxes = HEAD, {}
    for stage, height in zip(entry["stages"], heights, strict=True):
        _box(axes, stage, top, height, _ranked(stage["keys"], listed, entry["config"]))
        boxes[stage["id"]] = (top, top + height)
        top += height + GAP
    flow = [s["id"] for s in entry["stages"] if s["id"] != "rollout"]
    for above, below in pairwise(flow):
        _arrow(axes, (0.66, boxes[above][1]), (0.66, boxes[below][0]))
    if "rollout" in boxes:
        _loop(axes, boxes["trainer"], boxes["rollout"])
    return figure


def draw_side_by_side(entries: list[dict[str, Any]]) -> Any:
    """A column a entrypoint; of each stage its title, how many owners and keys it has, and where one owner stands."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import FancyBboxPatch

    rows = max(len(e["stages"]) for e in entries)
    figure, axes = plt.subplots(figsize=(7.0, 0.35 + 0.62 * rows), layout="constrained")
    for x, entry in enumerate(entries):
        _ = axes.text(
            x + 0.48, -0.12, visible(entry["title"]), ha="center", fontsize=8.5, fontweight="bold", parse_math=False
        )
        files = Counter(o["path"] for stage in entry["stages"] for o in stage["owners"])
        for y, stage in enumerate(entry["stages"]):
            fill = style.TINTS[style.GREEN] if stage["id"] == "rollout" else style.PALE
            look: dict[str, Any] = {
                "boxstyle": "round,pad=0,rounding_size=0.03",
                "fc": fill,
                "ec": style.EDGE,
                "lw": 0.7,
            }
            axes.add_patch(FancyBboxPatch((x + 0.02, y + 0.03), 0.92, 0.74, **look))
            # its own first
            owners = sorted((o for o in stage["owners"] if o["path"]), key=lambda o: files[o["path"]])
            missing = len(stage["owners"]) - len(owners)
            told = (
                f"{len(stage['owners'])} owners{f', {missing} missing' if missing else ''}, {len(stage['keys'])} keys"
            )
            place = f"{owners[0]['path'].removeprefix('src/')}:{owners[0]['line']}" if owners else "no owner found"
            for text, below, size, family in (
                (stage["title"], 0.21, 8.0, "sans-serif"),
                (told, 0.43, 7.0, "sans-serif"),
                (_cut(place, 52), 0.63, 6.4, "monospace"),
            ):
                ink = style.INK if below < 0.3 else style.DARK
                words: dict[str, Any] = {"fontsize": size, "family": family, "color": ink, "parse_math": False}
                _ = axes.text(x + 0.05, y + below, visible(text), va="center", **words)
            if y + 1 < len(entry["stages"]):
                _arrow(axes, (x + 0.48, y + 0.77), (x + 0.48, y + 1.03))
    _ = axes.set(xlim=(0, len(entries)), ylim=(rows, -0.3))
    axes.set_axis_off()
    return figure


def _height(stage: dict[str, Any]) -> float:
    return max(len(stage["owners"]), 5) * LINE + 2 * PAD


def _box(axes: Any, stage: dict[str, Any], top: float, height: float, keys: list[dict[str, Any]]) -> None:
    from matplotlib.patches import FancyBboxPatch

    fill = style.TINTS[style.GREEN] if stage["id"] == "rollout" else style.PALE
    shape = FancyBboxPatch(
        (0.05, top), EDGE - 0.05, height, boxstyle="round,pad=0,rounding_size=0.05", fc=fill, ec=style.EDGE, lw=0.6
    )
    axes.add_patch(shape)
    below = top + PAD + 0.05
    for line in wrap(stage["title"], 21):
        _text(axes, TITLE_X, below, line, 6.4, weight="bold")
        below += 0.115
    upstream = sum(k["via"] == "upstream" for k in keys)
    _text(axes, TITLE_X, below + 0.01, f"{len(keys)} keys: {len(keys) - upstream} read,", 5, colour=style.DIM)
    _text(axes, TITLE_X, below + 0.10, f"{upstream} passed through", 5, colour=style.DIM)
    lines = max(len(stage["owners"]), 5)
    for i, owner in enumerate(stage["owners"]):
        _owner(axes, owner, top + PAD + (i + 0.5) * LINE)
    for i, (text, colour) in enumerate(_key_lines(keys, lines)):
        _text(axes, KEY_X, top + PAD + (i + 0.5) * LINE, text, SIZE, mono=True, colour=colour)


def _owner(axes: Any, owner: dict[str, Any], y: float) -> None:
    qualname = owner["symbol"].rsplit(":", 1)[-1]
    name = qualname.rsplit(".", 1)[-1]
    if owner["status"] == "missing":
        _text(axes, OWNER_X, y, _cut(f"missing: {name}", OWNER_CHARS), SIZE, mono=True, colour=style.VERMILION)
        return
    place = f"{owner['path'].removeprefix('src/')}:{owner['line']}"
    mark, colour = ("moved: ", style.BLUE) if owner["status"] == "moved" else ("", style.INK)
    name = qualname if len(mark + place + qualname) < OWNER_CHARS else name
    _text(axes, OWNER_X, y, _cut(f"{mark}{place} {name}", OWNER_CHARS), SIZE, mono=True, colour=colour)


def _key_lines(keys: list[dict[str, Any]], lines: int) -> list[tuple[str, str]]:
    """As many keys as there are lines; what does not fit is counted."""
    room = lines if len(keys) <= lines else lines - 1
    found = [(_cut(k["path"] + (" ^" if k["via"] == "upstream" else ""), KEY_CHARS), style.INK) for k in keys[:room]]
    return found + ([(f"and {len(keys) - room} more", style.DIM)] if len(keys) > room else [])


def _ranked(keys: list[dict[str, Any]], listed: Counter[str], config: str) -> list[dict[str, Any]]:
    """First what the config itself sets, then what a base of it sets; within that, keys of this stage alone."""

    def rank(k: dict[str, Any]) -> tuple[int, int, bool, str]:
        set_by = 0 if config in k["sources"] else 1 if any(s.endswith(".yaml") for s in k["sources"]) else 2
        return (set_by, listed[k["path"]], k["via"] == "upstream", k["path"])

    return sorted(keys, key=rank)


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], colour: str = style.INK) -> None:
    look = {"arrowstyle": "-|>", "lw": 0.9, "color": colour, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=end, xytext=start, arrowprops=look)


def _loop(axes: Any, trainer: tuple[float, float], rollout: tuple[float, float]) -> None:
    """Requests and weights go down to the server, token ids come back up."""
    middle = (trainer[0] + trainer[1]) / 2
    out, back = EDGE + 0.10, EDGE + 0.27
    for x, start, end, text in (
        (out, middle + 0.12, rollout[0] + 0.22, "requests, weights"),
        (back, rollout[0] + 0.36, middle - 0.12, "token ids"),
    ):
        _ = axes.plot([EDGE, x, x], [start, start, end], color=style.GREEN, lw=0.9, solid_capstyle="butt")
        _arrow(axes, (x, end), (EDGE, end), style.GREEN)
        _text(axes, x + 0.055, (start + end) / 2, text, 5, colour=style.GREEN, rotation=90, ha="center")


def _text(
    axes: Any, x: float, y: float, text: str, size: float, *, mono: bool = False, colour: str = style.INK, **more: Any
) -> None:
    look = {"family": "DejaVu Sans Mono" if mono else "DejaVu Sans", "color": colour, "va": "center", **more}
    axes.text(x, y, visible(text), fontsize=size, parse_math=False, **look)


def _cut(text: str, chars: int) -> str:
    return text if len(text) <= chars else f"{text[: chars - 1]}…"
