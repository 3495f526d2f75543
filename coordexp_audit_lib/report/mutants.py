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
    """The changes of the audited tree, one a row: what and where, whether a question comes by it, and which claim
    noticed it; empty where it was not measured."""
    rows = (kept("mutants.json") or {"mutants": []})["mutants"]
    columns = ["kind", "boundary", "path", "line", "function", "reached", "claim", "status"]
    return pd.DataFrame([{**r, "claim": "", "status": "", **r["noticed"]} for r in rows], columns=columns)


def noticed(changes: pd.DataFrame, by: str) -> pd.DataFrame:
    """By a column, the share that is noticed of all changes and of those that a question comes by, with intervals."""
    real = changes[changes["kind"] != CONTROL]
    rows = []
    for name, group in [*real.groupby(by), ("all", real)]:
        told, reached = group["claim"] != "", group[group["reached"] | (group["claim"] != "")]
        verdicts = group["status"].isin(["violated", "held", "unbound"])
        row = {
            "noticed": share(int(told.sum()), len(group)),
            "of those that are reached": share(int((reached["claim"] != "").sum()), len(reached)),
            "by a verdict": int((told & verdicts).sum()),
            "as an error": int((told & ~verdicts).sum()),
        }
        rows.append({by: name, **row})
    return pd.DataFrame(rows).set_index(by)


def false_alarms(changes: pd.DataFrame) -> str:
    """Of changes that change nothing, how many were noticed."""
    same = changes[changes["kind"] == CONTROL]
    return share(int((same["claim"] != "").sum()), len(same))


def missed(changes: pd.DataFrame) -> pd.DataFrame:
    """The changes that are not noticed, those first that a question comes by."""
    left = changes[(changes["claim"] == "") & (changes["kind"] != CONTROL)]
    left = left.assign(place=left["path"] + ":" + left["line"].astype(str))
    left = left.sort_values(["reached", "boundary", "path", "line"], ascending=[False, True, True, True])
    return left[["place", "function", "kind", "boundary", "reached"]].set_index("place")


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
    """By boundary, then by kind: name, noticed, reached but missed, not reached."""
    real, rows = changes[changes["kind"] != CONTROL], []
    for by in ("boundary", "kind"):
        for name, group in real.groupby(by):
            told = int((group["claim"] != "").sum())
            silent = int(((group["claim"] == "") & group["reached"]).sum())
            rows.append([by, str(name), told, silent, len(group) - told - silent])
    return rows


def _said(rows: list[list[Any]]) -> str:
    of = [r for r in rows if r[0] == "boundary"]
    told, silent, unreached = (sum(r[i] for r in of) for i in (2, 3, 4))
    return (
        f"{told + silent + unreached} changes of one line of the audited tree, by the boundary of their file (left) "
        f"and by kind (right): {told} are noticed, {silent} are not though a question of the audit comes by them, and "
        f"by {unreached} none does. The line is the 95 % interval of the share that is noticed."
    )


@figure(
    "detection.mutants",
    _said,
    lambda rows: "Bars of shares noticed; " + "; ".join(f"{n} {t} of {t + s + u}" for _, n, t, s, u in rows),
)
def draw(rows: list[list[Any]]) -> Any:
    """Shares as stacked bars, for each boundary and each kind of change."""
    import matplotlib.pyplot as plt

    drawn, both = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axes, by in zip(both, ("boundary", "kind"), strict=True):
        mine = [r[1:] for r in rows if r[0] == by][::-1]
        names = [f"{name} ({told + silent + left})" for name, told, silent, left in mine]
        start = [0.0] * len(mine)
        looks = (("noticed", style.GREEN), ("reached, not noticed", style.VERMILION), ("not reached", style.LIGHT))
        for i, (label, colour) in enumerate(looks, 1):
            part = [row[i] / max(sum(row[1:]), 1) for row in mine]
            axes.barh(names, part, left=start, color=colour, label=label, height=0.7)
            start = [a + b for a, b in zip(start, part, strict=True)]
        for at, (_, told, silent, left) in enumerate(mine):
            low, high = wilson(told, told + silent + left)
            axes.plot([low, high], [at, at], color=style.INK, linewidth=1.2)
        axes.set_xlim(0, 1)
        axes.set_xlabel("share of the changes")
        style.spare(axes)
    style.legend(drawn, *both[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return drawn
