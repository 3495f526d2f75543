"""How well the audit tells bugs: what was measured and kept, as tables and pictures for the notebook of that name.

What is not there is left out, and said to be: a kept file of another kind is read if it stands beside the others.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any, TypeGuard

import pandas as pd

from coordexp_audit_lib.report import style
from coordexp_audit_lib.report.figure import figure
from coordexp_audit_lib.report.power import wilson

VERDICTS = {
    "apart": "violated before, held after",
    "violation": "its violation is gone, others of the claim stay",
    "missed": "not told apart",
}
# name, told, of how many, of what: as published.
PUBLISHED = (
    (
        "TrainCheck",
        18,
        20,
        "silent errors of training, reproduced; invariants inferred from sound runs of the same code",
    ),
    (
        "Ekka",
        0.80,
        None,
        "silent errors of serving engines: outputs compared with a reference engine, root cause found",
    ),
    ("NeuraLint", 0.705, None, "faults of network structure in programs of question sites; recall of 23 static rules"),
)


def share(told: int, among: int) -> str:
    low, high = wilson(told, among)
    return f"{told} of {among}: {told / among:.0%} ({low:.0%} to {high:.0%})" if among else "none"


def root() -> Path:
    """The repository around the working directory.

    Raises:
        FileNotFoundError: there is none with kept results.
    """
    here = Path.cwd().resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / "tests" / "history" / "pairs.json").is_file():
            return folder
    raise FileNotFoundError(
        "no kept results: run this in a checkout of the library, which has tests/history/pairs.json"
    )


def kept(name: str) -> Any:
    """A kept result by its file's name below tests/history; None where it was not measured."""
    path = root() / "tests" / "history" / name
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def history() -> pd.DataFrame:
    """The pairs of the project's history with what was measured; `verdict` is empty where nothing was."""
    measured = kept("measured.json") or {}
    rows = []
    for pair in kept("pairs.json"):
        found = measured.get(pair["fix"], {})
        sides = {f"shown {side}": found.get(side, {}).get("shown") for side in ("before", "after")}
        told = {"verdict": found.get("verdict", ""), **sides, "why": pair.get("unseen", "")}
        rows.append({name: pair[name] for name in ("fix", "boundary", "what", "claim")} | told)
    return pd.DataFrame(rows)


def by_boundary(pairs: pd.DataFrame) -> pd.DataFrame:
    """Measured pairs by boundary, with the intervals."""
    asked = pairs[pairs["verdict"] != ""]
    rows = []
    for boundary, group in [*asked.groupby("boundary"), ("all", asked)]:
        strict, loose = (group["verdict"] == "apart").sum(), group["verdict"].isin(["apart", "violation"]).sum()
        row = {
            "violated, then held": share(int(strict), len(group)),
            "its violation gone": share(int(loose), len(group)),
        }
        rows.append({"boundary": boundary, **row})
    return pd.DataFrame(rows).set_index("boundary")


def field_bugs() -> pd.DataFrame:
    """The silent bugs that public threads tell of, as they are rebuilt in tests/silent_bugs: name and thread."""
    folder, rows = root() / "tests" / "silent_bugs", []
    missed = _missed(ast.parse((folder / "test_silent_bugs.py").read_text(encoding="utf-8")))
    for path in sorted(folder.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            words = [str(a.value) for a in node.args if isinstance(a, ast.Constant)] if _is_pair(node) else []
            if len(words) >= 2 and "#" in words[1]:
                what, thread = words[:2]
                repository, _, number = thread.partition("#")
                link = f"https://github.com/{repository}/issues/{number}"
                rows.append({"what": what, "thread": thread, "link": link, "missed": missed.get(what, "")})
    return pd.DataFrame(rows).drop_duplicates("thread")


def _is_pair(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and any("#" in str(a.value) for a in node.args if isinstance(a, ast.Constant))


def _missed(module: ast.Module) -> dict[str, str]:
    for node in module.body:
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "MISSED" and node.value:
            return dict(ast.literal_eval(node.value))
    return {}


def published(told: int, among: int) -> pd.DataFrame:
    """The figures of others beside ours."""
    rows = [
        {
            "who": "this audit, on pairs of the history",
            "figure": share(told, among),
            "on": "trees before and after a fix",
        }
    ]
    for name, count, total, on in PUBLISHED:
        figure = share(int(count), total) if total else f"{count:.1%}, denominator not restated here"
        rows.append({"who": name, "figure": figure, "on": on})
    return pd.DataFrame(rows).set_index("who")


def matrix() -> pd.DataFrame:
    """Faults of each boundary by how many claims must catch them: rows are boundaries of the fault's surface."""
    from coordexp_audit_lib import boundaries
    from coordexp_audit_lib.core.fault import faults

    boundaries.load(None)
    cells = [(f.id.partition(".")[0], c.partition(".")[0]) for f in faults() for c in f.caught_by]
    names = [b.name for b in boundaries.BOUNDARIES]
    table = pd.crosstab([a for a, _ in cells], [b for _, b in cells])
    return table.reindex(index=names, columns=names, fill_value=0).rename_axis(index="fault of", columns="claim of")


@figure(
    "detection.matrix",
    lambda table: (
        f"{int(table.to_numpy().sum())} pairs of a fault and a claim that must catch it, by the boundary of either: a "
        "number off the diagonal is of faults that another boundary's claims tell as well."
    ),
    lambda table: (
        "A matrix of numbers, faults by claims; on the diagonal: "
        + ", ".join(f"{name} {table.loc[name, name]}" for name in table.index)
    ),
)
def draw(table: pd.DataFrame) -> Any:
    """The matrix as a picture; a cell's number is how many claims of the column must catch a fault of the row."""
    import matplotlib.pyplot as plt

    drawn, axes = plt.subplots(figsize=(7.5, 6), layout="constrained")
    style.cells(axes, table.to_numpy() > 0, cmap="Greys", vmin=0, vmax=3)
    axes.set_xticks([n + 0.5 for n in range(len(table.columns))], table.columns, rotation=60, ha="right")
    axes.set_yticks([n + 0.5 for n in range(len(table.index))], table.index)
    for i, row in enumerate(table.to_numpy()):
        for j, count in enumerate(row):
            if count:
                axes.text(j + 0.5, i + 0.5, str(count), ha="center", va="center", fontsize=8)
    axes.set_xlabel("claim of")
    axes.set_ylabel("fault of")
    return drawn
