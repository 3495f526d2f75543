"""Figures of the boundary: a text with its spans, what becomes of each broken class, how the work grows."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from coordexp_audit_lib.boundaries.coordjson import surfaces as s
from coordexp_audit_lib.boundaries.coordjson.cases.fringe import fringe_texts, unjudged_texts
from coordexp_audit_lib.boundaries.coordjson.cases.rollouts import families
from coordexp_audit_lib.boundaries.coordjson.cases.texts import members, mixed_texts, record
from coordexp_audit_lib.boundaries.coordjson.predicates.parsing import BIN, SUPERLINEAR
from coordexp_audit_lib.core.claim import Context, exhibit
from coordexp_audit_lib.kit.coordjson import REASONS, Broken, Order, Source, array, container, salvage
from coordexp_audit_lib.report import style
from coordexp_audit_lib.report.figure import figure
from coordexp_audit_lib.report.text import visible
from coordexp_audit_lib.source.sinks import ScanRequest

ORDER: Order = "desc_first"
COLOURS = {
    "outside": style.WHITE,
    "container": style.LIGHT,
    "kept record": style.TINTS[style.BLUE],
    "desc": style.TINTS[style.GREEN],
    "geometry": style.TINTS[style.ORANGE],
    "coordinate token": style.ORANGE,
    "dropped record": style.TINTS[style.VERMILION],
    "incomplete tail": style.TINTS[style.PURPLE],
}
WIDTH = 92
FONT: dict[str, Any] = {"family": "monospace", "fontsize": 7.8, "parse_math": False}
COLUMNS = ("strict refuses", *REASONS, "broken one kept", "good ones lost")


@exhibit("coordjson.spans")
def spans(ctx: Context) -> dict[str, Any]:
    """A rollout cut off by its length limit, read by salvage: each character's part, and the records' spans."""
    poly = members(ORDER, '"roof"', ("poly", array((12, 8, 410, 3, 400, 96))))
    whole = container(record("sign with ]} on it", ORDER), members(ORDER, '"cat"', ("bbox_2d", array((5, 6, 7)))), poly)
    text = "Here it is: " + whole[:-2] + ", " + record("dog", ORDER, 60)[:48]
    parsed = ctx.value(s.PARSE, s.ParseRequest(text, "salvage", ORDER))
    parts = ["outside"] * len(text)
    for name, start, end in _parts(text, parsed):
        parts[start:end] = [name] * (end - start)
    shown = [[r.index, r.desc, r.geometry, r.values, list(r.span), list(r.geometry_span)] for r in parsed.records]
    counts = {n: getattr(parsed, n) for n in ("dropped", "incomplete_tail", "truncated")}
    return {"text": text, "parts": parts, "records": shown, **counts}


def _parts(text: str, parsed: s.Parsed) -> Iterator[tuple[str, int, int]]:
    """(part, start, end), the inner ones after those around them."""
    if parsed.container_start is None:
        return
    source = Source(text)
    yield "container", parsed.container_start, parsed.container_end or len(text)
    kept = {r.span[0]: r for r in parsed.records}
    at = text.index("[", parsed.container_start) + 1
    while (at := text.find("{", at)) >= 0:
        end = source.object_end(at)
        if end is None:
            yield "incomplete tail", at, len(text)
            return
        yield ("kept record" if at in kept else "dropped record"), at, end
        if at in kept:
            yield from _inner_parts(source, kept[at])
        at = end


def _inner_parts(source: Source, found: s.Record) -> Iterator[tuple[str, int, int]]:
    try:
        for member in source.members(*found.span):
            if member.key == "desc":
                yield "desc", member.start, member.end
    except Broken:
        pass  # a parser that keeps what can't be read shows it without a desc
    first, last = found.geometry_span
    yield "geometry", first, last
    for token in BIN.finditer(source.text, first, last):
        yield "coordinate token", token.start(), token.end()


@exhibit("coordjson.classes")
def classes(ctx: Context) -> dict[str, Any]:
    """For each class of broken record: texts asked, how many strict refuses, and what salvage does with them.

    Each text has one broken record beside good ones. The classes that the contract's small print decides come last;
    an `open brace` has no record at all, and counts as kept where its failure is not reported.
    """
    table: dict[str, dict[str, int]] = {}
    for case in [*mixed_texts(ORDER), *fringe_texts(ORDER)]:
        row = table.setdefault(case.kind, dict.fromkeys(("texts", *COLUMNS), 0))
        row["texts"] += 1
        row["strict refuses"] += ctx.ask(s.PARSE, s.ParseRequest(case.text, "strict", ORDER)).refused
        parsed = ctx.value(s.PARSE, s.ParseRequest(case.text, "salvage", ORDER))
        reading = salvage(case.text, ORDER)
        surplus = len(parsed.records) - sum(e.valid for e in (reading.entries if reading else ()))
        row["broken one kept"] += surplus > 0 or (reading is None and not parsed.failed)
        row["good ones lost"] += surplus < 0
        for reason, count in parsed.dropped.items():
            row[reason if reason in REASONS else "other"] += count
    return {
        "columns": list(COLUMNS),
        "rows": {k: [v[c] for c in COLUMNS] for k, v in table.items()},
        "texts": {k: v["texts"] for k, v in table.items()},
    }


@exhibit("coordjson.leniencies")
def leniencies(ctx: Context) -> dict[str, Any]:
    """Texts on which the contract is silent, and whether strict mode takes them. Shown, never judged."""
    asked = {c.kind: ctx.ask(s.PARSE, s.ParseRequest(c.text, "strict", ORDER)) for c in unjudged_texts(ORDER)}
    return {"accepted": {kind: not answer.refused for kind, answer in asked.items()}}


@exhibit("coordjson.growth")
def growths(ctx: Context) -> dict[str, Any]:
    """The growth exponent of each reader on each family of texts; null where the target has no such reader."""
    rows: dict[str, list[float | None]] = {}
    for name, texts in families(ORDER).items():
        request = s.GrowthRequest(texts, ORDER)
        rows[name] = [ctx.value(q, request).lines if ctx.answers(q) else None for q in s.READERS.values()]
    return {"readers": list(s.READERS), "families": rows}


@exhibit("coordjson.sinks")
def sinks(ctx: Context) -> dict[str, Any]:
    """Every strict parser call of the owner modules with its verdict."""
    found = ctx.value(s.JSON_SINKS, ScanRequest(**ctx.contract["coordjson.scanned"]))
    rows = [[k.verdict, f"{k.path}:{k.line}", k.symbol, k.parser] for k in found.sinks]
    return {"sinks": rows, "modules": found.modules}


@figure(
    "coordjson.spans",
    "One answer as the parser cuts it: descriptions, coordinates and the structure around them, character by "
    "character. Supervision "
    "is laid on these cuts.",
    "The text of an answer in lines, each character on the colour of its part.",
)
def draw_spans(data: dict[str, Any]) -> Any:
    """The text in lines of equal characters, the part of each behind it."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch, Rectangle

    text, parts = visible(data["text"]), data["parts"]
    lines = list(_lines(text))
    figure, axes = plt.subplots(figsize=(7.2, 0.21 * len(lines) + 0.75), layout="constrained")
    for y, (start, end) in enumerate(lines):
        for x, i in enumerate(range(start, end)):
            axes.add_patch(Rectangle((x, y), 1.02, 0.94, facecolor=COLOURS[parts[i]], linewidth=0))
            axes.text(x + 0.5, y + 0.5, text[i], ha="center", va="center", **FONT)
    axes.set(xlim=(0, WIDTH), ylim=(len(lines), 0))
    axes.axis("off")
    patches = [Patch(facecolor=c, label=p) for p, c in COLOURS.items() if p in parts and p != "outside"]
    figure.legend(handles=patches, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def _lines(text: str) -> Iterator[tuple[int, int]]:
    """Lines of at most WIDTH characters, broken behind a space where there is one."""
    start = 0
    while start < len(text):
        end = min(start + WIDTH, len(text))
        space = text.rfind(" ", start, end)
        if end < len(text) and space > start:
            end = space + 1
        yield start, end
        start = end


@figure(
    "coordjson.classes",
    "Classes of rollout texts (with their number) against what the reader makes of them. What a class's row "
    "spreads over is what the "
    "training step gets from such rollouts.",
    "A matrix of counts: classes of text by outcome, shaded by the share of the class.",
    main=True,
)
def draw_classes(data: dict[str, Any]) -> Any:
    """One row a class, one column an outcome; a cell's shade is its share of the texts, its number the count."""
    rows, texts = data["rows"], data["texts"]
    columns = [textwrap.fill(c.replace("_", " "), 11) for c in data["columns"]]
    cells = [
        [(n / texts[k], str(n) if n or not x else "", x > len(REASONS)) for x, n in enumerate(counts)]
        for k, counts in rows.items()
    ]
    return _matrix([f"{kind} ({texts[kind]})" for kind in rows], columns, cells)


@figure(
    "coordjson.growth",
    "How the lines run grow with the length of the text, as an exponent: 1 is linear. A reader far above 1 "
    "stalls a step on one long "
    "degenerate rollout.",
    "A matrix of growth exponents: families of texts by reader.",
)
def draw_growth(data: dict[str, Any]) -> Any:
    """One row a family, one column a reader; a cell's number is the growth exponent, coloured where superlinear."""
    cells = [
        [(0.0, "–", False) if v is None else (min(max(v - 1, 0.0), 1.0), f"{v:.1f}", v >= SUPERLINEAR) for v in row]
        for row in data["families"].values()
    ]
    return _matrix(list(data["families"]), data["readers"], cells)


def _matrix(rows: Sequence[str], columns: Sequence[str], cells: Sequence[Sequence[tuple[float, str, bool]]]) -> Any:
    """A table of cells (shade from 0 to 1, text, whether it is bad: then the shade is vermilion, not blue)."""
    import matplotlib.pyplot as plt

    colours = [[_tint(style.VERMILION if bad else style.BLUE, shade) for shade, _, bad in row] for row in cells]
    size = (2.2 + 0.62 * len(columns), 0.7 + 0.225 * len(rows))
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    edges = [np.arange(n + 1) - 0.5 for n in (len(columns), len(rows))]
    _ = axes.pcolormesh(*edges, np.array(colours), linewidth=0)
    axes.invert_yaxis()
    for y, row in enumerate(cells):
        for x, (shade, text, _) in enumerate(row):
            axes.text(x, y, text, ha="center", va="center", fontsize=8, color=style.WHITE if shade > 0.6 else style.INK)
    axes.set_xticks(range(len(columns)), columns, fontsize=7.5)
    axes.set_yticks(range(len(rows)), [visible(r) for r in rows], fontsize=8, parse_math=False)
    axes.xaxis.tick_top()
    axes.set_xticks([x - 0.5 for x in range(1, len(columns))], minor=True)
    axes.set_yticks([y - 0.5 for y in range(1, len(rows))], minor=True)
    axes.grid(which="minor", color=style.RULE, linewidth=0.6)
    axes.tick_params(which="both", length=0)
    return figure


def _tint(colour: str, shade: float) -> tuple[float, ...]:
    """White at 0, the colour at 1."""
    return tuple(1 - shade * (1 - int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5))
