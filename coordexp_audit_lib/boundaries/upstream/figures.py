"""What the notebook shows: the matrix of releases, what changed, and what the installed release does.

Exhibits ask the target and give plain data; `draw_…` functions draw that data and nothing else.
"""

from __future__ import annotations

from typing import Any

from coordexp_audit_lib.boundaries.upstream import surfaces as s
from coordexp_audit_lib.boundaries.upstream.artifact import matrix as m
from coordexp_audit_lib.boundaries.upstream.artifact import tables
from coordexp_audit_lib.boundaries.upstream.cases import CHATS, CONFIGS, GRIDS, SAMPLES, SETTINGS, rates
from coordexp_audit_lib.boundaries.upstream.predicates.batches import rope_index
from coordexp_audit_lib.boundaries.upstream.predicates.installed import asked, promised
from coordexp_audit_lib.boundaries.upstream.predicates.verdicts import WORDS, differences
from coordexp_audit_lib.core.claim import Context, exhibit
from coordexp_audit_lib.kit.profile import QWEN3_VL
from coordexp_audit_lib.report import style
from coordexp_audit_lib.report.figure import figure
from coordexp_audit_lib.report.text import visible

# Told apart with any colour vision; the sign in a cell says it again.
TINTS = {
    "kept": style.PALE,
    "moved": style.TINTS[style.BLUE],
    "changed": style.TINTS[style.ORANGE],
    "gone": style.VERMILION,
    "undecidable": style.PURPLE,
}
SIGNS = {"kept": "", "moved": "→", "changed": "≠", "gone": "×", "undecidable": "?"}
ROW, COLUMN = 0.215, 0.42  # inches


@exhibit("upstream.releases")
def releases(ctx: Context) -> dict[str, Any]:
    """The verdicts: of each distribution its versions, its surfaces, and a word for each of both."""
    matrix = ctx.value(s.MATRIX, m.MatrixRequest())
    by_name = tables.rows(matrix)
    return {
        "pinned": dict(ctx.contract["upstream.pinned"]),
        "tables": {d: {"versions": list(h[1:]), "rows": [list(r) for r in rows]} for d, (h, rows) in by_name.items()},
        "details": [list(row) for row in tables.details(matrix)],
        "words": {w: sum(v.word == w for v in matrix.verdicts) for w in WORDS},
    }


@exhibit("upstream.here")
def here(ctx: Context) -> dict[str, Any]:
    """What the pipeline's environment has, surface by surface: parts that are as used, are not, are not decided."""
    rows: dict[str, list[Any]] = {}
    versions = {}
    for version, contract, part, seen in asked(ctx, promised(ctx)):
        versions[contract.distribution] = version or "not installed"
        row = rows.setdefault(contract.id, [contract.distribution, contract.title, 0, 0, 0])
        kinds = [d.kind for d in differences(part, seen)]
        row[4 if "undecidable" in kinds else 3 if kinds else 2] += 1
    return {"versions": versions, "rows": list(rows.values())}


@exhibit("upstream.rates")
def learning_rates(ctx: Context) -> dict[str, Any]:
    """The rate and decay of each parameter of a small network, as set and as the pipeline's optimizer has them."""
    made = ctx.value(s.TRAINER, SETTINGS)
    found = {n: g for g in made.wiring or [] for n in g.names}
    rows = []
    for name in made.names:
        part = max((p for p in rates() if name.startswith(p)), key=len, default="")
        wanted = rates().get(part, SETTINGS.learning_rate)
        group = found.get(name)
        rows.append([name, wanted, group.lr if group else None, group.weight_decay if group else None])
    return {"rows": rows, "trainer": [[g.weight_decay, g.lr, g.names] for g in made.groups], "wired": bool(made.wiring)}


@exhibit("upstream.requests")
def requests(ctx: Context) -> dict[str, Any]:
    """The request config's fields as sent and as arrived, and the infer requests of chats with images."""
    made = ctx.value(s.CONFIG, CONFIGS[1])
    config = [[k, made.sent.get(k), v, made.bare.get(k)] for k, v in sorted(made.config.items())]
    sent = ctx.value(s.INFER, s.InferRequests(list(SAMPLES))).sent
    chats = []
    for sample, one in zip(SAMPLES, sent, strict=True):
        form = "in the messages" if isinstance(sample.messages[-1]["content"], list) else "beside the messages"
        where = form if one.images else "none"
        chats.append([len(sample.messages), where, one.slots, len(one.images), one.request == one.again])
    return {"config": config, "chats": chats}


@exhibit("upstream.batch")
def batch(ctx: Context) -> dict[str, Any]:
    """Shape and dtype of each tensor of a packed and of a padded batch."""
    made = ctx.value(s.TEMPLATE, CHATS)
    rows = []
    for kind, found in (("packed", made.packed), ("padded", made.padded)):
        rows += [[kind, k, found.shapes[k], found.dtypes.get(k, "-")] for k in sorted(found.shapes)]
    return {"rows": rows, "lengths": made.lengths, "patches": made.patches, "row": made.row}


@exhibit("upstream.positions")
def positions(ctx: Context) -> dict[str, Any]:
    """mRoPE positions of an image in a text as `get_rope_index` gives them, and as they should be."""
    request = GRIDS[0]
    rows = ctx.value(s.ROWS, request)
    return {
        "grid": list(request.grid),
        "before": request.before,
        "rope": rows.rope,
        "wanted": rope_index(request),
        "isolated": [ctx.value(s.ROWS, g).isolated and ctx.value(s.ROWS, g).blind for g in GRIDS],
    }


@figure(
    "upstream.releases",
    "What is used of each library, against its releases: kept, moved, changed, gone. The framed column is the "
    "pinned release; signs to its "
    "right are what an upgrade meets.",
    "A panel for each library, surfaces by releases, with a sign and a tint for each verdict.",
    main=True,
)
def draw_releases(data: dict[str, Any]) -> Any:
    """Surfaces × versions, a panel for each distribution; the pinned release's column is framed."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    tables = list(data["tables"].items())
    heights = [len(t["rows"]) + 2.4 for _, t in tables]
    widest = max(len(t["versions"]) for _, t in tables)
    look: dict[str, Any] = {"figsize": (2.9 + COLUMN * widest, ROW * sum(heights) + 0.5), "layout": "constrained"}
    figure, axes = plt.subplots(len(tables), 1, squeeze=False, height_ratios=heights, **look)
    for ax, (distribution, table) in zip(axes[:, 0], tables, strict=True):
        _panel(ax, distribution, table, data["pinned"].get(distribution, ""), widest)
    marks = [Patch(facecolor=TINTS[w], edgecolor=style.GREY, label=f"{SIGNS[w]} {w}".strip()) for w in WORDS]
    figure.legend(handles=marks, loc="outside lower center", ncols=len(WORDS), frameon=False, fontsize=8)
    return figure


def _panel(ax: Any, distribution: str, table: dict[str, Any], pinned: str, widest: int) -> None:
    from matplotlib.patches import Rectangle

    versions, rows = table["versions"], table["rows"]
    for y, (_, *words) in enumerate(rows):
        for x, word in enumerate(words):
            look: dict[str, Any] = {"facecolor": TINTS.get(word, style.WHITE), "edgecolor": style.WHITE, "linewidth": 1}
            ax.add_patch(Rectangle((x, y), 1, 1, **look))
            ink = style.WHITE if word == "gone" else style.INK
            ax.text(x + 0.5, y + 0.52, SIGNS.get(word, "-"), ha="center", va="center", fontsize=8, color=ink)
    if pinned in versions:
        at = versions.index(pinned)
        ax.add_patch(Rectangle((at, 0), 1, len(rows), fill=False, edgecolor=style.BLUE, linewidth=1.4, clip_on=False))
    ax.set(xlim=(0, widest), ylim=(len(rows), 0))
    ax.set_xticks([x + 0.5 for x in range(len(versions))], versions, rotation=35, ha="left", rotation_mode="anchor")
    ax.set_yticks([y + 0.5 for y in range(len(rows))], [visible(r[0]) for r in rows], parse_math=False)
    ax.xaxis.tick_top()
    ax.tick_params(labelsize=7.5)
    style.bare(ax)
    ax.set_ylabel(distribution, fontsize=9, fontweight="bold", parse_math=False)


@figure(
    "upstream.rates",
    "The learning rate that each parameter was given (ring) and the one that the pipeline's optimizer has (dot). "
    "They should be concentric.",
    "Parameters by learning rate on a logarithmic axis, with a ring and a dot for each.",
)
def draw_rates(data: dict[str, Any]) -> Any:
    """Each parameter's learning rate: a ring where it was set, a dot where the pipeline's optimizer has it."""
    import matplotlib.pyplot as plt

    rows = [r for r in data["rows"] if r[2] is not None]
    figure, ax = plt.subplots(figsize=(6.2, 0.26 * len(rows) + 0.9), layout="constrained")
    for y, (_, wanted, found, _) in enumerate(rows):
        off = abs(wanted - found) > 1e-12
        if off:
            ax.plot([wanted, found], [y, y], color=style.VERMILION, linewidth=1.2, zorder=1)
        ax.scatter([wanted], [y], s=70, facecolors=style.WHITE, edgecolors=style.BLUE, linewidths=1.4, zorder=2)
        ax.scatter([found], [y], s=18, color=style.VERMILION if off else style.BLUE, zorder=3)
    ax.set_xscale("log")
    ticks = sorted({r[1] for r in rows})
    ax.set_xticks(ticks, [f"{t:.0e}".replace("e-0", "e-") for t in ticks], fontsize=7.5)
    ax.minorticks_off()
    ax.set_yticks(range(len(rows)), [visible(r[0]) for r in rows], fontsize=7.5, parse_math=False)
    ax.invert_yaxis()
    ax.set_xlabel("learning rate (ring: as set, dot: in the optimizer)", fontsize=8)
    ax.grid(axis="x", color=style.LIGHT, linewidth=0.6)
    ax.set_axisbelow(True)
    style.spare(ax)
    return figure


@figure(
    "upstream.positions",
    "mRoPE positions of an image in a text, as the installed library gives them. Text goes on after the larger "
    "side of the image.",
    "Three lines of positions along the tokens; the image's tokens are shaded.",
)
def draw_positions(data: dict[str, Any]) -> Any:
    """T, H and W along the sequence; the image's tokens are shaded."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(5.4, 2.3), layout="constrained")
    start = data["before"] + 1
    merged = QWEN3_VL.merged(data["grid"])
    ax.axvspan(start - 0.5, start + merged - 0.5, color=style.PALE, zorder=0)
    ax.text(start + merged / 2 - 0.5, 0.1, "image", ha="center", va="bottom", fontsize=7.5, color=style.DIM)
    looks = (("o-", style.BLUE), ("s--", style.ORANGE), ("^:", style.GREEN))
    for name, row, (line, colour) in zip("THW", data["rope"], looks, strict=True):
        ax.plot(range(len(row)), row, line, color=colour, markersize=4, linewidth=1, label=name)
    ax.set_xlabel("token", fontsize=8)
    ax.set_ylabel("position", fontsize=8)
    ax.tick_params(labelsize=7.5)
    ax.legend(frameon=False, fontsize=8, ncols=3, loc="upper left")
    style.spare(ax)
    return figure


def titles() -> list[tuple[str, str, str]]:
    """What each surface is, and where the pipeline uses it: (distribution, surface, used by)."""
    return [(k.distribution, k.title, k.used) for k in m.contracts()]
