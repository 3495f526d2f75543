"""Small changes, of the audited tree and of the audit itself, and right inputs by the ten thousand: what was measured
and kept (`tools/mutants`, `tools/own_mutants.py`, `benchmarks/controls.py`), as tables and pictures."""

from __future__ import annotations

from typing import Any

import pandas as pd

from coordexp_audit_lib.report import style
from coordexp_audit_lib.report.detection import kept, share
from coordexp_audit_lib.report.figure import figure
from coordexp_audit_lib.report.power import wilson

CONTROL = "control"  # the kind of a change that changes nothing


def of_tree() -> pd.DataFrame:
    """The changes of the audited tree, one a row: what and where, whether a question comes by it, whether it was
    judged, and which claim noticed it; empty where none did."""
    rows = (kept("mutants.json") or {"mutants": []})["mutants"]
    columns = ["kind", "boundary", "path", "line", "function", "reached", "judged", "claim", "status"]
    made = [{**r, "judged": r["noticed"] is not None, "claim": "", "status": "", **(r["noticed"] or {})} for r in rows]
    return pd.DataFrame(made, columns=columns)


def noticed(changes: pd.DataFrame, by: str) -> pd.DataFrame:
    """By a column: by how many changes a question comes, how many of these are noticed, of those that were judged, and
    how many of all that makes; a change by which none comes is noticed by a claim on source, or not at all."""
    real = changes[changes["kind"] != CONTROL]
    rows = []
    for name, group in [*real.groupby(by), ("all", real)]:
        among, told = group[group["reached"] & group["judged"]], group["claim"] != ""
        others = group[~group["reached"] & group["judged"]]
        violated = int((among["status"] == "violated").sum())
        row = {
            "a question comes by": share(int(group["reached"].sum()), len(group)),
            "of these, noticed": share(int(told[among.index].sum()), len(among)),
            "as a violation": violated,
            "otherwise": int(told[among.index].sum()) - violated,
            "of the others": f"{int(told[others.index].sum())} of {len(others)}",
            "of all, about": f"{_of_all(group):.0%}" if len(among) else "not judged",
        }
        rows.append({by: name, **row})
    return pd.DataFrame(rows).set_index(by)


def _of_all(group: pd.DataFrame) -> float:
    """The share of all that is noticed: of those that are reached as of those of them that were judged, and so on."""
    parts = []
    for mine in (group[group["reached"]], group[~group["reached"]]):
        judged = mine[mine["judged"]]
        rate = float((judged["claim"] != "").mean()) if len(judged) else 0.0
        parts.append(rate * len(mine) / max(len(group), 1))
    return sum(parts)


def false_alarms(changes: pd.DataFrame) -> str:
    """Of changes that change nothing, how many were noticed."""
    same = changes[changes["kind"] == CONTROL]
    return share(int((same["claim"] != "").sum()), len(same))


def missed(changes: pd.DataFrame, *, reached: bool = True) -> pd.DataFrame:
    """The changes that were judged and not noticed: those that a question comes by, or the others."""
    left = changes[changes["judged"] & (changes["claim"] == "") & (changes["kind"] != CONTROL)]
    left = left[left["reached"] == reached]
    left = left.assign(place=left["path"] + ":" + left["line"].astype(str)).sort_values(["boundary", "path", "line"])
    return left[["place", "function", "kind", "boundary"]].set_index("place")


def of_own() -> pd.DataFrame:
    """The mutants of the audit's own predicates, references and kit; `why` is the answer to one that survived."""
    rows = (kept("own_mutants.json") or {"mutants": []})["mutants"]
    answers = kept("own_survivors.json") or {}
    columns = ["name", "boundary", "operator", "killed", "asked"]
    made = pd.DataFrame(rows, columns=columns)
    return made.assign(why=[answers.get(name, "") for name in made["name"]])


def scores(own: pd.DataFrame) -> pd.DataFrame:
    """By boundary: killed of all, and of those that are not equivalent by the answer given."""
    rows = []
    for boundary, group in [*own.groupby("boundary", sort=False), ("all", own)]:
        killed = int((group["killed"] != "").sum())
        apart = int(group["why"].str.startswith("equivalent").sum())
        row = {"killed": share(killed, len(group)), "without equivalent ones": share(killed, len(group) - apart)}
        rows.append({"boundary": boundary, **row})
    return pd.DataFrame(rows).set_index("boundary")


def survivors(own: pd.DataFrame) -> pd.DataFrame:
    return own[own["killed"] == ""][["name", "boundary", "why"]].set_index("name")


def controls() -> pd.DataFrame:
    """By boundary: right inputs, forms, claims that judged them, and findings, of which there should be none."""
    rows = []
    for boundary, of in ((kept("controls.json") or {}).get("boundaries", {})).items():
        claims = sum(count > 0 for count in of["judged"].values())
        found = {"inputs": of["inputs"], "forms": len(of["forms"]), "claims": claims, "findings": len(of["alarms"])}
        rows.append({"boundary": boundary, **found, "at most": f"{wilson(len(of['alarms']), of['inputs'])[1]:.2%}"})
    columns = ["boundary", "inputs", "forms", "claims", "findings", "at most"]
    return pd.DataFrame(rows, columns=columns).set_index("boundary")


def bars(changes: pd.DataFrame) -> list[list[Any]]:
    """By boundary, then by kind: name, changes, those that a question comes by, those of them that were judged, and
    those of these that were noticed."""
    real, rows = changes[changes["kind"] != CONTROL], []
    for by in ("boundary", "kind"):
        for name, group in real.groupby(by):
            among = group[group["reached"] & group["judged"]]
            counts = len(group), int(group["reached"].sum()), len(among), int((among["claim"] != "").sum())
            rows.append([by, str(name), *counts])
    return rows


def _said(rows: list[list[Any]]) -> str:
    drawn, reached, judged, told = (sum(r[i] for r in rows if r[0] == "boundary") for i in (2, 3, 4, 5))
    return (
        f"{drawn} changes of one line of the audited tree, by the boundary of their file (left) and by kind (right). "
        f"By {reached} a question of the audit comes; of the {judged} of these that were judged, {told} are noticed. "
        "The line is the 95 % interval of the share that is noticed."
    )


@figure(
    "detection.mutants",
    _said,
    lambda rows: (
        "Bars of shares; noticed of judged, of reached, of all: "
        + "; ".join(f"{n} {told} of {judged}, {reached}, {drawn}" for _, n, drawn, reached, judged, told in rows)
    ),
)
def draw(rows: list[list[Any]]) -> Any:
    """Shares as stacked bars, for each boundary and each kind of change."""
    import matplotlib.pyplot as plt

    drawn, both = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    words = ("noticed", "a question comes by, not noticed", "a question comes by, none judged", "no question comes by")
    looks = tuple(zip(words, (style.GREEN, style.VERMILION, style.EDGE, style.LIGHT), strict=True))
    for axes, by in zip(both, ("boundary", "kind"), strict=True):
        mine = [r[1:] for r in rows if r[0] == by][::-1]
        names = [f"{name} ({count})" for name, count, *_ in mine]
        reach = [reached / max(count, 1) for _, count, reached, _, _ in mine]
        seen = [by_one * told / max(judged, 1) for by_one, (*_, judged, told) in zip(reach, mine, strict=True)]
        missed_ = [(a - b) if row[3] else 0.0 for a, b, row in zip(reach, seen, mine, strict=True)]
        unjudged = [0.0 if row[3] else a for a, row in zip(reach, mine, strict=True)]
        parts = (seen, missed_, unjudged, [1 - a for a in reach])
        start = [0.0] * len(mine)
        for (label, colour), part in zip(looks, parts, strict=True):
            axes.barh(names, part, left=start, color=colour, label=label, height=0.7)
            start = [a + b for a, b in zip(start, part, strict=True)]
        for at, (all_of, (*_, judged, told)) in enumerate(zip(reach, mine, strict=True)):
            low, high = wilson(told, judged) if judged else (0.0, 0.0)
            axes.plot([all_of * low, all_of * high], [at, at], color=style.INK, linewidth=1.2)
        axes.set_xlim(0, 1)
        axes.set_xlabel("share of the changes")
        style.spare(axes)
    style.legend(drawn, *both[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return drawn
