"""Draw the README's picture, `book/_static/result.svg`: what the audit of the packaged recording came to.

python tools/readme_picture.py [AUDIT]     # an audit.json or the folder of one; by default it is judged now
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

from coordexp_audit_lib import read_audit
from coordexp_audit_lib.cli import main as audit
from coordexp_audit_lib.core.finding import SEVERITIES
from coordexp_audit_lib.report import style
from coordexp_audit_lib.report.frame import Audit

PICTURE = Path(__file__).resolve().parents[1] / "book" / "_static" / "result.svg"
WEIGHT = {
    "P0": (style.VERMILION, "#FFFFFF"),
    "P1": (style.TINTS[style.ORANGE], style.INK),
    "P2": (style.LIGHT, style.INK),
}
LEGEND = "P0: another objective or evaluation than meant, or no start · P1: wrong for some inputs · P2: little effect"
HELD = (style.TINTS[style.GREEN], style.INK)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("audit", nargs="?", type=Path)
    given = parser.parse_args().audit
    with tempfile.TemporaryDirectory() as folder:
        if given is None:
            audit(["check", "--fail-on", "never", "--quiet", "--out", folder])
        draw(read_audit(given or folder), PICTURE)


def cells(read: Audit) -> dict[tuple[str, str], str]:
    """What each boundary came to in each config: the violations that count, by severity, else how many claims hold."""
    found: dict[tuple[str, str], str] = {}
    frame = read.to_dataframe()
    for config in read.configs:
        mine = frame[frame.configs.map(lambda names, config=config: not names or config in names)]
        for boundary, group in mine.groupby("boundary", sort=False):
            bad = group[group.counts].severity.value_counts()
            told = [f"{bad[s]} {s}" for s in SEVERITIES if bad.get(s, 0)]
            found[str(boundary), config] = " · ".join(told) or f"✓ {int((group.status == 'held').sum())} hold"
    return found


def draw(read: Audit, path: Path) -> None:
    """Write the matrix, with a mark and words in each cell, so that nothing depends on colour."""
    found, names = cells(read), read.document["boundaries"]
    figure = plt.figure(figsize=(7.4, 0.3 * (len(names) + 3.4)))
    axis = figure.add_axes((0.02, 0.0, 0.96, 1.0))
    axis.set(xlim=(0, 1), ylim=(len(names) + 1.9, -1.4))
    axis.axis("off")
    for x, config in enumerate(read.configs):
        _ = axis.text(0.39 + 0.39 * x, -0.7, Path(config).stem, ha="center", fontsize=8.5, color=style.DARK)
    for y, boundary in enumerate(names):
        _ = axis.text(0.0, y + 0.07, boundary, va="center", fontsize=9, color=style.INK)
        for x, config in enumerate(read.configs):
            _cell(axis, 0.2 + 0.39 * x, y, found.get((boundary, config), "–"))
    _ = axis.text(0.0, len(names) + 0.6, summary(read), fontsize=8, color=style.DARK)
    _ = axis.text(0.0, len(names) + 1.4, LEGEND, fontsize=8, color=style.DARK)
    with mpl.rc_context({"svg.fonttype": "none", "font.family": "sans-serif"}):
        style.write(figure, path)
    text = path.read_text(encoding="utf-8")
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")


def _cell(axis: Any, left: float, y: int, text: str) -> None:
    fill, ink = next((look for s, look in WEIGHT.items() if s in text), HELD)
    _ = axis.add_patch(plt.Rectangle((left, y - 0.34), 0.38, 0.82, facecolor=fill, edgecolor=style.WHITE))
    _ = axis.text(left + 0.19, y + 0.07, text, ha="center", va="center", fontsize=8.5, color=ink)


def summary(read: Audit) -> str:
    """One line under the matrix."""
    told, target = read.summary, read.target
    by = told["by_severity"]
    bad = ", ".join(f"{by[s]['violated']} {s}" for s in SEVERITIES)
    verdicts = f"{told['held']} held, {told['violated']} violated ({bad}), {told['unbound']} not decidable here"
    return f"{target['name'].partition('-')[0]} at {target['commit'][:7]}: {verdicts}"


if __name__ == "__main__":
    main()
