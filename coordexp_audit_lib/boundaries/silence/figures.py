"""12 as data and tables: where failures vanish, and what errors say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coordexp_audit_lib.boundaries.silence.predicates import PARTS, lacks
from coordexp_audit_lib.boundaries.silence.surfaces import SUPPRESSIONS, ScanRequest
from coordexp_audit_lib.core.claim import Context, exhibit, provocations
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.report import style
from coordexp_audit_lib.report.figure import figure
from coordexp_audit_lib.report.tables import table
from coordexp_audit_lib.report.text import visible

if TYPE_CHECKING:
    import pandas as pd

NONE = "not answered"


@exhibit("silence.scan")
def scan(ctx: Context) -> dict[str, Any]:
    """What was read, and each place where every exception vanishes."""
    found = ctx.value(SUPPRESSIONS, ScanRequest(ctx.contract["silence.core_folder"]))
    rows = [[f"{s.path}:{s.line}", s.symbol or "-", s.form] for s in found.suppressions]
    return {"files": found.files, "handlers": found.handlers, "unparsed": found.unparsed, "rows": rows}


@exhibit("silence.errors")
def errors(ctx: Context) -> dict[str, Any]:
    """By surface: how many errors were provoked, how many lack a part, and an example of each kind."""
    rows: list[list[Any]] = []
    examples: list[list[str]] = []
    for provocation in provocations():
        name = provocation.surface.name
        try:
            answers = [(label, a.refusal) for label, a in provocation.ask(ctx) if a.refusal is not None]
        except SurfaceUnbound:
            rows.append([name, NONE, "-", "-", "-", "-"])
            continue
        missing = [(label, r, lacks(r.message)) for label, r in answers]
        counts = [sum(part in parts for _, _, parts in missing) for part in PARTS]
        rows.append([name, len(answers), sum(not parts for _, _, parts in missing), *counts])
        for kind in (True, False):
            chosen = next(((label, r, parts) for label, r, parts in missing if bool(parts) is kind), None)
            if chosen:
                label, refusal, parts = chosen
                lacking = ", ".join(p.removeprefix("a ") for p in parts) or "nothing"
                examples.append([name, label, f"{refusal.type}: {refusal.message}", lacking])
    return {"rows": rows, "examples": examples}


@figure(
    "silence.errors",
    lambda data: (
        f"{sum(row[1] for row in data['rows'] if row[1] != NONE)} errors that the audit provoked at the other "
        "boundaries, by the question "
        "that was refused: those that say what was wrong, where, and what to do, and those that leave a part of "
        "it out. "
        f"{len(data['rows'])} questions were put."
    ),
    lambda data: (
        "Stacked bars, one for each question: "
        + "; ".join(f"{row[0]} {row[2]} of {row[1]} say all" for row in data["rows"] if row[1] != NONE)
    ),
    main=True,
)
def draw_errors(data: dict[str, Any]) -> Any:
    """One bar a surface, to 100 percent: errors that say all, and those that lack a part, with their numbers."""
    import matplotlib.pyplot as plt

    rows = [row for row in data["rows"] if row[1] != NONE and row[1]]
    drawn, axis = plt.subplots(figsize=(7.0, 0.8 + 0.26 * max(len(rows), 1)), layout="constrained")
    for y, (_, number, whole, *_) in enumerate(rows):
        share = whole / number
        _ = axis.barh(y, share, height=0.7, color=style.GREEN, label="says what, where and what to do" if not y else "")
        look: dict[str, Any] = {"color": style.VERMILION, "hatch": "//", "edgecolor": style.WHITE, "linewidth": 0}
        _ = axis.barh(y, 1 - share, left=share, height=0.7, label="lacks a part" if not y else "", **look)
        _ = axis.text(1.01, y, f"{whole} of {number}", va="center", fontsize=style.SMALL)
    _ = axis.set_yticks(range(len(rows)), [visible(row[0]) for row in rows], fontsize=style.SMALL, parse_math=False)
    _ = axis.set(xlim=(0, 1.12), ylim=(len(rows) - 0.4, -0.6), xlabel="share of the errors")
    _ = axis.set_xticks([0, 0.25, 0.5, 0.75, 1])
    if rows:
        style.legend(drawn, loc="outside upper center", ncols=2)
    style.spare(axis)
    return drawn


PER_ROW, NAMED = 46, 12
CELL = 0.15  # inches


@figure(
    "silence.scan",
    lambda data: (
        f"Every exception handler of the core paths, one square each: {data['handlers']} in {data['files']} files. "
        f"Filled and numbered are those behind which every exception vanishes: {len(data['rows'])}. Their places stand "
        "below."
    ),
    lambda data: (
        f"A field of {data['handlers']} squares, {len(data['rows'])} of them filled and numbered; under it a line for "
        "each of those with its place."
    ),
)
def draw_scan(data: dict[str, Any]) -> Any:
    """A square for each handler, the silent ones first, and their places below."""
    import matplotlib.pyplot as plt

    silent, places = len(data["rows"]), data["rows"][:NAMED]
    total = max(data["handlers"], silent)
    field, lines = -(-max(total, 1) // PER_ROW), len(places) + (silent > NAMED)
    drawn, axis = plt.subplots(figsize=(7.0, CELL * (field + lines) + 0.35), layout="constrained")
    for bad, marks in ((False, range(silent, total)), (True, range(silent))):
        look: dict[str, Any] = {
            "color": style.VERMILION if bad else style.PALE,
            "edgecolors": style.INK if bad else style.RULE,
        }
        xs, ys = [k % PER_ROW + 0.5 for k in marks], [k // PER_ROW + 0.5 for k in marks]
        _ = axis.scatter(xs, ys, s=(58 * CELL) ** 2, marker="s", linewidths=0.4, **look)
    for k in range(silent if silent < 100 else 0):
        at = (k % PER_ROW + 0.5, k // PER_ROW + 0.5)
        axis.text(*at, str(k + 1), ha="center", va="center", fontsize=5.5, color=style.WHITE)
    told = [f"{k + 1}  {place}  {symbol}" for k, (place, symbol, _) in enumerate(places)]
    told += [f"and {silent - NAMED} more"] if silent > NAMED else []
    for k, text in enumerate(told):
        axis.text(0.1, field + 1.0 + k, visible(text), va="center", fontsize=6.5, family="monospace", parse_math=False)
    _ = axis.set(xlim=(0, PER_ROW), ylim=(field + lines + 0.6, -0.1))
    axis.set_axis_off()
    return drawn


def scan_table(data: dict[str, Any]) -> pd.DataFrame:
    caption = f"{data['files']} files, {data['handlers']} exception handlers read"
    return table(("where", "function", "what stands there"), data["rows"], caption)


def errors_table(data: dict[str, Any]) -> pd.DataFrame:
    return table(("surface", "errors", "actionable", "no cause", "no place", "no remedy"), data["rows"])


def examples_table(data: dict[str, Any]) -> pd.DataFrame:
    return table(("surface", "input", "what the target said", "it lacks"), data["examples"])
