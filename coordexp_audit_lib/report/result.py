"""What an audit came to, as tables of a page: the matrix boundary by config, and what matters first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from coordexp_audit_lib.core.finding import SEVERITIES, STATUSES
from coordexp_audit_lib.core.ranking import counts
from coordexp_audit_lib.report.tables import table
from coordexp_audit_lib.report.text import visible

if TYPE_CHECKING:
    import pandas as pd

TOP = 10
ANY = "any config"
OPEN, HELD = "open", "held"


def columns(made: Mapping[str, Any]) -> list[str | None]:
    """The matrix's columns: the configs of which something could be judged (a tree may lack those that are audited by
    default); None, the claims that do not depend on one, where there is none."""
    told: dict[str, list[bool]] = {}
    for f in made["findings"]:
        for c in f["configs"]:
            told.setdefault(c, []).append(f["status"] != "unbound")
    return [c for c in made["configs"] if any(told.get(c, [True]))] or [None]


def column_names(made: Mapping[str, Any]) -> list[str]:
    """What the columns are called: a config's whole path where two have one name."""
    names = [config_name(c) for c in columns(made)]
    return [visible(c) if c and names.count(n) > 1 else n for c, n in zip(columns(made), names, strict=True)]


def reached_in(f: Mapping[str, Any]) -> list[str]:
    """The configs whose runs are known to reach a violation of a finding."""
    return list(dict.fromkeys(c for k in f["kinds"] if k["reach"] != "none" for c in k["reached_in"]))


def config_name(config: str | None) -> str:
    """A config's file name without its ending, fit for a column."""
    return visible(config.rsplit("/", 1)[-1].removesuffix(".yaml")) if config else ANY


def tally(findings: Iterable[Mapping[str, Any]], boundary: str, config: str | None) -> dict[str, int]:
    """How many of a boundary's verdicts for a run from a config have each sign: violations that count by severity,
    what is undecided (`open`), what holds.

    A claim that is judged without a config belongs to each; a violation to those that are known to reach it
    (`Like.reached_in`), with the worst severity that it has there.
    """
    told = [sign_in(f, config) for f in findings if f["boundary"] == boundary]
    return {key: told.count(key) for key in (*SEVERITIES, OPEN, HELD) if told.count(key)}


def sign(f: Mapping[str, Any]) -> str:
    """The sign of a verdict: its severity if violated and counting, else `held` or `open`; "" if it counts nowhere."""
    if f["status"] == "violated":
        return str(f["severity"]) if counts(f) else ""
    return HELD if f["status"] == "held" else OPEN


def sign_in(f: Mapping[str, Any], config: str | None) -> str:
    """The sign of a verdict for a run from a config; "" where it says nothing of it."""
    own = f["config"] is not None
    if own and config is not None and config not in f["configs"]:
        return ""
    reached = [k for k in f["kinds"] if k["reach"] != "none"] if counts(f) else []
    here = [k["severity"] for k in reached if config is None or not k["reached_in"] or config in k["reached_in"]]
    elsewhere = not own or any({*k["reached_in"]} & {*f["configs"]} for k in reached)
    if reached and not here and elsewhere:
        return ""
    return str(min(here, key=SEVERITIES.index)) if here else sign(f)


def cell(findings: Iterable[Mapping[str, Any]], boundary: str, config: str | None) -> str:
    """What a boundary came to for a run from a config: what is wrong or undecided, else how many claims hold."""
    told = tally(findings, boundary, config)
    held = told.pop(HELD, 0)
    return ", ".join(f"{n} {'undecided' if key == OPEN else key}" for key, n in told.items()) or (
        f"{held} held" if held else "-"
    )


def matrix(made: Mapping[str, Any]) -> pd.DataFrame:
    """Boundary by config."""
    rows = [[b, *(cell(made["findings"], b, c) for c in columns(made))] for b in made["boundaries"]]
    return table(("boundary", *column_names(made)), rows)


def first(made: Mapping[str, Any]) -> pd.DataFrame:
    """The findings that matter most: where each is to be mended, what happens there, and the remedy."""
    rows = [
        (f["severity"], ", ".join([f["invariant"], *f["also"]]), place(f), f["violations"][0]["message"], f["remedy"])
        for f in top(made["findings"])
    ]
    header = ("severity", "claim", "place to mend", "what is wrong", "remedy")
    return table(header, rows or [("-", "-", "-", "nothing that counts is violated", "-")])


def reach_by(f: Mapping[str, Any]) -> str:
    """How it is known whether an audited config reaches the weightiest example, and which do."""
    first = f["violations"][0]["reached_in"] if f["violations"] else ()
    return f"in {', '.join(map(config_name, first))}: {f['reach_by']}" if first and f["reach_by"] else f["reach_by"]


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
