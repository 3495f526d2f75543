"""What the page about a dataset shows: figures of a survey, and the numbers behind each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.report import style
from coordexp_audit_lib.report.figure import figure
from coordexp_audit_lib.report.tables import table
from coordexp_audit_lib.report.text import cut, visible
from coordexp_audit_lib.run.dataset import AREAS, CELLS, Survey, packs

if TYPE_CHECKING:
    import pandas as pd

SHOWN = 20
PERCENTILES = (50, 90, 99, 100)
CAPACITIES = 12  # of the curve of fill


def verdicts(found: Sequence[Finding]) -> pd.DataFrame:
    """Each claim with its verdict, and the first violation's line."""
    rows = []
    for f in found:
        first = f.violations[0] if f.violations else None
        place = f"line {first.where.line}: {first.message}" if first and first.where else f.note or "-"
        rows.append((f.invariant, f.severity, f.status, f.checked, f.violation_count, place))
    return table(("claim", "severity", "status", "judged", "violations", "first, or what was not judged"), rows)


def numbers(s: Survey) -> pd.DataFrame:
    """How much there is."""
    counts = sorted(s.objects.elements())
    rows = [
        ("records", s.records),
        ("records that could not be read for this page", s.left_out),
        ("images of known size", sum(s.sizes.values())),
        ("objects", sum(n * k for n, k in s.objects.items())),
        ("boxes in a known frame", s.boxes),
        ("names", len(s.names)),
        ("objects a record: median, largest", f"{_at(counts, 50)}, {counts[-1] if counts else '-'}"),
    ]
    return table(("what", "number"), rows)


def _at(ordered: Sequence[int], percent: int) -> Any:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else "-"


@figure(
    "dataset.sizes",
    "Images by width and height, and records by their number of objects. Those far to the right are the longest "
    "answers.",
    "Left, marks by width and height, larger where there are more images; right, a bar chart of objects a record.",
)
def draw_sizes(s: Survey) -> Any:
    """Left: images by width and height, a larger mark for more of them. Right: records by number of objects."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.2), layout="constrained")
    most = max(s.sizes.values(), default=1)
    for (width, height), count in sorted(s.sizes.items()):
        left.scatter(width, height, s=12 + 100 * count / most, color=style.BLUE, alpha=0.6, linewidths=0)
    left.set(xlabel="width (pixels)", ylabel="height (pixels)")
    left.margins(0.1)
    counts = sorted(s.objects)
    right.bar(counts, [s.objects[n] for n in counts], color=style.ORANGE)
    right.set(xlabel="objects of a record", ylabel="records")
    style.spare(left, right)
    return figure


def sizes(s: Survey) -> pd.DataFrame:
    """The most frequent sizes."""
    return table(("width x height", "images"), [(f"{w}x{h}", n) for (w, h), n in _most(s.sizes)])


def _most(counts: Counter[Any]) -> list[tuple[Any, int]]:
    """The most frequent, of equal ones the smaller."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]


@figure(
    "dataset.places",
    "Boxes by the share of the image that they cover, and how many boxes cover each place. A bright border or "
    "corner is a frame that was "
    "mistaken for another.",
    "Left, a bar chart of areas; right, a heat map over the image.",
)
def draw_places(s: Survey) -> Any:
    """Left: boxes by their share of the image. Right: how many of the boxes cover each place of the image."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.2), layout="constrained", width_ratios=(1.2, 1))
    left.bar(range(len(s.areas)), s.areas, color=style.GREEN)
    left.set_xticks(range(len(s.areas)), [_area(i) for i in range(len(s.areas))], rotation=60, fontsize=style.SMALL)
    left.set(xlabel="share of the image's area, up to", ylabel="boxes")
    shades = style.cells(right, s.coverage, 1 / len(s.coverage), cmap="cividis", vmin=0)
    right.set(xlabel="x, share of the width", ylabel="y, share of the height")
    bar = style.colour_bar(figure, shades, ax=right)
    bar.set_label("boxes that cover the place, share")
    style.spare(left)
    return figure


def _area(i: int) -> str:
    return f"{AREAS[i + 1]:.2g}"


def places(s: Survey) -> pd.DataFrame:
    """Boxes by area, and the share of the boxes that cover the image's nine parts."""
    rows: list[tuple[str, str, Any]] = [("area", f"up to {_area(i)}", int(n)) for i, n in enumerate(s.areas) if n]
    third = np.array_split(np.arange(CELLS), 3)
    for name, ys in zip(("top", "middle", "bottom"), third, strict=True):
        shares = [f"{s.coverage[np.ix_(ys, xs)].mean():.3f}" for xs in third]
        rows.append(("mean cover", f"{name}: left, centre, right", ", ".join(shares)))
    return table(("what", "where", "boxes, or share of them"), rows)


@figure("dataset.names", "The most frequent names, by their number of objects.", "Horizontal bars, one for each name.")
def draw_names(s: Survey) -> Any:
    """The most frequent names."""
    import matplotlib.pyplot as plt

    found = _most(s.names)[::-1]
    figure, axis = plt.subplots(figsize=(8.2, 0.6 + 0.2 * max(len(found), 1)), layout="constrained")
    axis.barh(range(len(found)), [n for _, n in found], color=style.SKY)
    axis.set_yticks(range(len(found)), [cut(visible(name), 32) for name, _ in found], fontsize=style.SMALL)
    axis.set(xlabel="objects")
    style.spare(axis)
    return figure


def names(s: Survey) -> pd.DataFrame:
    """The same as numbers, with the share of all objects that have a name."""
    total = max(sum(s.names.values()), 1)
    return table(("name", "objects", "share"), [(n, k, round(k / total, 3)) for n, k in _most(s.names)])


@figure(
    "dataset.lengths",
    lambda s, cap: (
        f"Tokens of sampled records against the cap of {cap}, and how full packs would be by their capacity."
    ),
    "Left, a histogram of lengths with the cap as a line; right, the filled share against the capacity.",
)
def draw_lengths(s: Survey, cap: int) -> Any:
    """Left: lengths in tokens, and the cap. Right: how full packs are, by their capacity."""
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.0), layout="constrained")
    left.hist(s.lengths, bins=30, color=style.PURPLE)
    left.axvline(cap, color=style.VERMILION, lw=1.2)
    left.set(xlabel=f"tokens of a record (line: the cap, {cap})", ylabel="sampled records")
    capacities = np.linspace(max([*s.lengths, 1]), max(cap, *s.lengths, 2), CAPACITIES).astype(int)
    right.plot(capacities, [packs(s.lengths, int(c))[1] for c in capacities], color=style.BLUE, marker="o", ms=3)
    right.set(xlabel="capacity of a pack (tokens)", ylabel="share that is filled", ylim=(0, 1.02))
    style.spare(left, right)
    return figure


def lengths(s: Survey, cap: int) -> pd.DataFrame:
    """Percentiles of the lengths, how many exceed the cap, and the fill that packing to it would reach."""
    if not s.lengths:
        return table(("tokens",), [("no record's length is known: no answers, or no sizes of images",)])
    ordered = sorted(s.lengths)
    count, fill, long = packs(s.lengths, cap)
    rows: list[tuple[str, Any]] = [("sampled records", len(ordered))]
    rows += [(f"tokens, percentile {p}", _at(ordered, p)) for p in PERCENTILES]
    rows += [(f"longer than the cap of {cap}", long), ("packs of the others", count), ("share filled", f"{fill:.3f}")]
    return table(("what", "number"), rows)
