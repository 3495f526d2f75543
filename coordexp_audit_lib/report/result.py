"""What an audit came to, as tables of a page: the matrix boundary by config, and what matters first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from coordexp_audit_lib.core.finding import SEVERITIES, STATUSES
from coordexp_audit_lib.core.ranking import counts
from coordexp_audit_lib.report.tables import table
from coordexp_audit_lib.report.text import visible

if TYPE_CHECKING:
    import pandas as pd

TOP = 10
ANY = "any config"


def columns(made: Mapping[str, Any]) -> list[str | None]:
    """The matrix's columns: the configs; None, the claims that do not depend on one, where there is none."""
    return list(made["configs"]) or [None]


def config_name(config: str | None) -> str:
    """A config's file name without its ending, fit for a column."""
    return visible(config.rsplit("/", 1)[-1].removesuffix(".yaml")) if config else ANY


def of(findings: Sequence[Mapping[str, Any]], boundary: str, config: str | None) -> list[Mapping[str, Any]]:
    """A boundary's findings for a run from a config, with those that do not depend on one."""
    return [f for f in findings if f["boundary"] == boundary and (f["config"] is None or config in f["configs"])]


def cell(findings: Sequence[Mapping[str, Any]], boundary: str, config: str | None) -> str:
    """What a boundary came to for a run from a config, with what does not depend on the config: violations that count
    by severity, what is undecided, else how many claims hold."""
    mine = of(findings, boundary, config)
    if not mine:
        return "-"
    bad = [(s, sum(counts(f) and f["severity"] == s for f in mine)) for s in SEVERITIES]
    parts = [f"{n} {s}" for s, n in bad if n]
    open_ = sum(f["status"] in ("unbound", "error") for f in mine)
    parts += [f"{open_} undecided"] if open_ else []
    return ", ".join(parts) or f"{sum(f['status'] == 'held' for f in mine)} held"


def matrix(made: Mapping[str, Any]) -> pd.DataFrame:
    """Boundary by config. What does not depend on the config counts in every column."""
    rows = [[b, *(cell(made["findings"], b, c) for c in columns(made))] for b in made["boundaries"]]
    names = [config_name(c) for c in columns(made)]
    told = [visible(c) if c and names.count(n) > 1 else n for c, n in zip(columns(made), names, strict=True)]
    return table(("boundary", *told), rows)


def first(made: Mapping[str, Any]) -> pd.DataFrame:
    """The findings that matter most: where each is to be mended, what happens there, and the remedy."""
    rows = [
        (f["severity"], ", ".join([f["invariant"], *f["also"]]), place(f), f["violations"][0]["message"], f["remedy"])
        for f in top(made["findings"])
    ]
    header = ("severity", "claim", "place to mend", "what is wrong", "remedy")
    return table(header, rows or [("-", "-", "-", "nothing that counts is violated", "-")])


def top(findings: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of a document's findings, which are ranked, the first that count."""
    return [f for f in findings if counts(f)][:TOP]


def place(f: Mapping[str, Any], short: bool = False) -> str:
    """The place of a finding's weightiest example; where it is known better than by what was asked, so. short: with the
    last two names of its path only."""
    where = f["violations"][0]["where"]
    if not where:
        return "-"
    names = where["path"].split("/")
    path = "/".join(["…", *names[-2:]]) if short and len(names) > 2 else where["path"]
    return f"{path}:{where['line']}"


def counted(made: Mapping[str, Any]) -> pd.DataFrame:
    """How many claims have each status, by severity, with what counts nowhere."""
    summary = made["summary"]
    rows = [(s, *(summary["by_severity"][s][status] for status in STATUSES)) for s in SEVERITIES]
    rows.append(("all", *(summary[status] for status in STATUSES)))
    return table(("severity", *STATUSES), rows, caption=told(summary))


def told(summary: Mapping[str, Any]) -> str:
    """A sentence on what the counts leave out."""
    parts = [
        f"{summary['advice']} of the violated are advice: our practice, and no demand of the project or a library",
        f"{summary['latent']} more are latent: no audited configuration leads there",
        f"{summary['same']} are counted under another name",
    ]
    return "; ".join(p for p in parts if not p.startswith("0 "))
