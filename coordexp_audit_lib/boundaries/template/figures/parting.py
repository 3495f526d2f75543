"""Where the prompt of a rollout and the teacher-forced one part, token by token."""

from __future__ import annotations

from typing import Any

from coordexp_audit_lib.boundaries.template import cases
from coordexp_audit_lib.boundaries.template import surfaces as s
from coordexp_audit_lib.core.claim import Context, exhibit
from coordexp_audit_lib.kit.prompt_trace import Trace, first_difference
from coordexp_audit_lib.report import style
from coordexp_audit_lib.report.figure import figure
from coordexp_audit_lib.report.text import visible

BEFORE, AFTER = 8, 12  # tokens that are drawn on either side
SIDES = (("generated", "rollout"), ("forced", "training"))


@exhibit("template.parting")
def parting(ctx: Context) -> dict[str, Any]:
    """Each way in which the two prompts part, once, with the marks of the tokens around; how many pairs were compared.

    A mark is of a token and all before it (`kit.prompt_trace`): it tells whether two prompts agree so far, not what
    they say.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    pairs = 0
    for setting, request in cases.rollout_requests(ctx.contract):
        made, pairs = ctx.value(s.ROLLOUT, request), pairs + 1
        at = first_difference(made.generated, made.teacher_forced)
        whole = made.answer_at
        if at is None or at >= whole:
            continue
        first = max(0, at - BEFORE)
        generated = _marks(made.generated, first, at + AFTER, made.generated.length)
        forced = _marks(made.teacher_forced, first, at + AFTER, whole)
        told = {"at": at, "first": first, "generated": generated, "forced": forced, "pairs": []}
        found.setdefault((at, *generated, "", *forced), told)["pairs"].append(f"{setting}, {request.backend}")
    return {"compared": pairs, "partings": [found[key] for key in sorted(found, key=lambda key: (key[0], str(key)))]}


def _marks(trace: Trace, first: int, end: int, length: int) -> list[str]:
    return [trace.marks[2 * i : 2 * i + 2] for i in range(first, min(end, length))]


def _told(data: dict[str, Any]) -> str:
    parted = sum(len(p["pairs"]) for p in data["partings"])
    if not parted:
        return f"In none of {data['compared']} pairs do the prompts part."
    return (
        f"{parted} of {data['compared']} pairs part, in {len(data['partings'])} ways. Each pair of rows is one way, a "
        "box a token, with the mark of all tokens up to it; boxes that agree are blue, from the parting on the two "
        "rows differ. Marks stand for the tokens, since a recording keeps no prompt text."
    )


@figure(
    "template.parting",
    _told,
    lambda data: (
        "Pairs of rows of small boxes, rollout above training, "
        + (", ".join(f"parting at token {p['at']}" for p in data["partings"]) or "none of which part")
    ),
)
def draw_parting(data: dict[str, Any]) -> Any:
    """Two rows of boxes for each way in which prompts part."""
    import matplotlib.pyplot as plt

    rows = data["partings"]
    drawn, axis = plt.subplots(figsize=(7.0, 0.35 + 0.72 * max(1, len(rows))), layout="constrained")
    for y, row in enumerate(rows):
        named = row["pairs"][0] + (f" and {len(row['pairs']) - 1} more" if len(row["pairs"]) > 1 else "")
        words = f"{named.replace('/', ', ')}: part at token {row['at']}"
        axis.text(0, 3 * y - 0.12, visible(words), fontsize=6.8, va="bottom", parse_math=False)
        for lane, (side, name) in enumerate(SIDES):
            axis.text(-0.3, 3 * y + 0.5 + lane, name, fontsize=6.5, ha="right", va="center")
            _boxes(axis, row, row[side], 3 * y + lane, (style.VERMILION, style.ORANGE)[lane])
        at = row["at"] - row["first"]
        axis.plot([at, at], [3 * y, 3 * y + 2], color=style.INK, linewidth=1.6)
    if not rows:
        axis.text(0, 1, "no pair of prompts parts", fontsize=style.NORMAL)
    axis.set(xlim=(-2.6, BEFORE + AFTER + 0.2), ylim=(3 * max(1, len(rows)) - 0.7, -0.8))
    axis.set_axis_off()
    return drawn


def _boxes(axis: Any, row: dict[str, Any], marks: list[str], y: float, parted: str) -> None:
    from matplotlib.patches import Rectangle

    for x, mark in enumerate(marks):
        fill = style.TINTS[style.BLUE if row["first"] + x < row["at"] else parted]
        axis.add_patch(Rectangle((x + 0.04, y + 0.06), 0.92, 0.88, facecolor=fill, edgecolor=style.EDGE, linewidth=0.4))
        axis.text(x + 0.5, y + 0.5, mark, fontsize=6, family="DejaVu Sans Mono", ha="center", va="center")
