"""The numbers behind the supervision boundary's figures, and its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coordexp_audit_lib.report.tables import table

if TYPE_CHECKING:
    import pandas as pd


def ribbon_table(data: dict[str, Any]) -> pd.DataFrame:
    """One row per token of the ribbon."""
    rows = []
    for n, t in enumerate(data["tokens"]):
        norms = (t["ce"], t["geometry"])
        rows.append((n, t["text"], t["role"], t["fate"], *norms, t["target"] if t["target"] >= 0 else None))
    terms = ("|grad| of cross-entropy", "|grad| of geometry", "gradient points to bin")
    head = ("position", "token", "role", "object", *terms)
    return table(head, rows, f"The rollout's own tokens end before position {data['seam']}.")


def match_table(data: dict[str, Any]) -> pd.DataFrame:
    """Predictions with the ground truth that they are matched to, then the ground truth that was missed."""
    rows = [
        (f"p{i}", p["desc"], p["box"], p["fate"], f"g{p['gt']}" if p["gt"] >= 0 else None)
        for i, p in enumerate(data["pred"])
    ]
    rows += [
        (f"g{j}", data["gt"][j]["desc"], data["gt"][j]["box"], "missed, so appended", None) for j in data["missed"]
    ]
    return table(("box", "desc", "bins", "fate", "ground truth"), rows, data["name"])


def schedule_table(data: dict[str, Any]) -> pd.DataFrame:
    rows = [
        (b, len(s), ", ".join(map(str, s[:12])) + (", …" if len(s) > 12 else "")) for b, s in data["b_steps"].items()
    ]
    return table(("b", f"Channel-B steps of {data['steps']}", "which"), rows)


def real_straddling_table(data: dict[str, Any]) -> pd.DataFrame:
    rows = [tuple(t.values()) for t in data["real"]]
    return table(("token", "covers", "times in the real rollouts"), rows)


def treated_table(data: dict[str, Any]) -> pd.DataFrame:
    rows = [tuple(t.values()) for t in data["treated"]]
    return table(("token", "covers", "object", "what the target does with it", "times"), rows)


def append_table(data: dict[str, Any]) -> pd.DataFrame:
    rows = [
        (p["target"], p["canonical"], "same" if p["target"] == p["canonical"] else "differ", p["cases"], p["example"])
        for p in data["points"]
    ]
    return table(("tokens in the target", "canonical tokens", "verdict", "cases", "for example"), rows)


def softctx_table(data: dict[str, Any]) -> pd.DataFrame:
    head = tuple(data["passes"][0]) if data["passes"] else ("case",)
    return table(head, [tuple(r.values()) for r in data["passes"]])
