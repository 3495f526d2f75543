"""An audit's document on a terminal: a screenful that begins with what matters, or every finding with its examples."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from coordexp_audit_lib.core.finding import SEVERITIES, STATUSES
from coordexp_audit_lib.core.ranking import counts, is_latent
from coordexp_audit_lib.report import result
from coordexp_audit_lib.report.tables import plain
from coordexp_audit_lib.report.text import cut, shown, visible

_COLOURS = {"held": "32", "violated": "31", "unbound": "33", "error": "35"}
WIDTH = 160
FAILED = 5  # errors that are shown with their reason


def render(made: Mapping[str, Any], *, colour: bool | None = None, verbose: bool = False) -> str:
    """The report. `colour`: whether to use ANSI colours; by default only where stdout is a terminal. `verbose`: all
    findings, as it is also done for a single artifact."""
    if colour is None:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    findings = made["findings"]
    if verbose or made["target"]["kind"] == "artifact":
        width = max((len(_name(f)) for f in findings), default=0)
        lines = [line for f in findings for line in _finding(f, width, colour)]
        return "\n".join([*_head(made), *lines, "", _summary(made, colour)]) + "\n"
    return "\n".join([*_head(made), *_matrix(made), "", *_top(findings, colour), _summary(made, colour)]) + "\n"


def _head(made: Mapping[str, Any]) -> list[str]:
    t = made["target"]
    parts = [t["name"], t["kind"], t.get("commit", "")[:12], f"era {t['era']}" if t.get("era") else ""]
    note = [visible(f"note: {t['note']}")] if t.get("note") else []
    return [visible("target: " + ", ".join(p for p in parts if p)), *note, ""]


def _matrix(made: Mapping[str, Any]) -> Iterator[str]:
    """Boundary by config; the first column has the claims that do not depend on the config."""
    yield from plain(result.matrix(made)).splitlines()


def _top(findings: Sequence[Mapping[str, Any]], colour: bool) -> Iterator[str]:
    chosen = result.top(findings)
    for number, f in enumerate(chosen, 1):
        v = f["violations"][0]
        names = ", ".join([f["invariant"], *f["also"]])
        about = [_demand(f), _reached(f)]
        head = f"{visible(names)}  ({', '.join(a for a in about if a)})"
        yield f"{number:>2}. {_paint('violated', f['severity'], colour)}  {head}"
        yield cut(f"    {visible(_where(v) + v['message'])}", WIDTH)
        if f["remedy"]:
            yield cut(f"    remedy: {visible(f['remedy'])}", WIDTH)
    failed = [f for f in findings if f["status"] == "error"]
    for f in failed[:FAILED]:
        yield cut(f"    {_paint('error', 'error', colour)}  {_name(f)}: {visible(f['note'])}", WIDTH)
    more = sum(map(counts, findings)) - len(chosen)
    rest = [f"{more} more that count"] if more else []
    latent = len([f for f in findings if is_latent(f)])
    rest += [f"{latent} that no audited config leads to"] if latent else []
    rest += [f"{len(failed) - FAILED} more errors"] if len(failed) > FAILED else []
    if chosen or rest or failed:
        told = "every finding: --verbose, --json, or --out FOLDER"
        yield f"    {' and '.join(rest)}; {told}" if rest else f"    {told}"
        yield ""


def _demand(f: Mapping[str, Any]) -> str:
    return "advice: our practice, no demand of theirs" if f["authority"] == "practice" else f"{f['authority']}"


def _reached(f: Mapping[str, Any]) -> str:
    if len(f["configs"]) > 1:
        return "in both configs" if len(f["configs"]) == 2 else f"in {len(f['configs'])} configs"
    if f["config"]:
        return result.config_name(f["config"])
    return {"this config": "reached", "another config": "reached by another config"}.get(f["reach"], "reach unknown")


def _name(f: Mapping[str, Any]) -> str:
    where = ", ".join(f["configs"]) or f["config"]
    return visible(f"{f['invariant']} [{where}]" if where else f["invariant"])


def _finding(f: Mapping[str, Any], width: int, colour: bool) -> Iterator[str]:
    status = _paint(f["status"], f"{f['status']:<8}", colour)
    tail = visible(f["note"]) if f["status"] in ("unbound", "error") else f"{f['checked']} judged"
    if f["status"] == "violated":
        tail = f"{f['violation_count']} violations, {tail}; {_demand(f)}"
        tail += f"; counted with {f['same_as']}" if f["same_as"] else f"; {_reach_of(f)}" if f["kind"] != "A" else ""
    yield f"{status}  {f['severity']}  {_name(f):<{width}}  {tail}"
    for v in f["violations"] if f["status"] == "violated" else ():
        yield from _violation(v)
    if f["status"] == "violated":
        more = f["violation_count"] - len(f["violations"])
        if more > 0:
            kinds = "; ".join(_kind(k) for k in f["kinds"]) if len(f["kinds"]) > 1 else ""
            yield f"    and {more} more" + (f"; in all: {kinds}" if kinds else "")
        yield from [f"    remedy: {visible(f['remedy'])}"] if f["remedy"] else []


def _reach_of(f: Mapping[str, Any]) -> str:
    by = f" ({visible(f['reach_by'])})" if f["reach_by"] else ""
    if f["reach"] == "none":
        return f"latent: no audited config leads there{by}"
    return f"reached by {f['reach']}{by}" if f["reach"] in ("this config", "another config") else f"reach unknown{by}"


def _kind(k: Mapping[str, Any]) -> str:
    subjects = f" ({', '.join(visible(s) for s in k['subjects'])}, …)" if k["subjects"] else ""
    return cut(f"{k['count']} x {visible(k['message'])}{subjects}", WIDTH)


def _where(v: Mapping[str, Any]) -> str:
    return f"{v['where']['path']}:{v['where']['line']}: " if v["where"] else ""


def _violation(v: Mapping[str, Any]) -> Iterator[str]:
    yield f"  * {visible(_where(v) + v['message'])}"
    for place in v["others"]:
        w = place["where"]
        yield f"      or: {visible(w['path'])}:{w['line']} {visible(w['symbol'])} (by {place['found']})"
    for label in ("subject", "expected", "actual", "counterexample"):
        if v[label] not in (None, ""):
            yield f"      {label}: {shown(v[label])}"


def _summary(made: Mapping[str, Any], colour: bool) -> str:
    counted = made["summary"]
    told = [_paint(s, f"{counted[s]} {s}", colour and counted[s] > 0) for s in STATUSES]
    if counted["violated"]:
        by = counted["by_severity"]
        split = ", ".join(f"{by[s]['violated']} {s}" for s in SEVERITIES if by[s]["violated"])
        told[1] += f" ({split}; {counted['advice']} of them advice)" if counted["advice"] else f" ({split})"
    told += [f"{counted['latent']} latent"] if counted["latent"] else []
    told += [f"{counted['same']} under a second name"] if counted["same"] else []
    return ", ".join(told)


def _paint(status: str, text: str, colour: bool) -> str:
    return f"\x1b[{_COLOURS[status]}m{text}\x1b[0m" if colour else text
