"""An audit's document on a terminal: one line per finding, and a block for each violation."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from coordexp_audit_lib.core.finding import STATUSES
from coordexp_audit_lib.report.text import shown, visible

_COLOURS = {"held": "32", "violated": "31", "unbound": "33", "error": "35"}


def render(made: Mapping[str, Any], *, colour: bool | None = None) -> str:
    """The whole report. `colour`: whether to use ANSI colours; by default only where stdout is a terminal."""
    if colour is None:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    findings = made["findings"]
    width = max((len(_name(f)) for f in findings), default=0)
    lines = [line for f in findings for line in _finding(f, width, colour)]
    return "\n".join([*_head(made), *lines, "", _summary(made, colour)]) + "\n"


def _head(made: Mapping[str, Any]) -> list[str]:
    t = made["target"]
    parts = [t["name"], t["kind"], t.get("commit", "")[:12], f"era {t['era']}" if t.get("era") else ""]
    return [visible("target: " + ", ".join(p for p in parts if p)), ""]


def _name(f: Mapping[str, Any]) -> str:
    return visible(f["invariant"] if f["config"] is None else f"{f['invariant']} [{f['config']}]")


def _finding(f: Mapping[str, Any], width: int, colour: bool) -> Iterator[str]:
    status = _paint(f["status"], f"{f['status']:<8}", colour)
    tail = visible(f["note"]) if f["status"] in ("unbound", "error") else f"{f['checked']} judged"
    if f["status"] == "violated":
        tail = f"{f['violation_count']} violations, {tail}"
    yield f"{status}  {f['severity']}  {_name(f):<{width}}  {tail}"
    for v in f["violations"] if f["status"] == "violated" else ():
        yield from _violation(v)
    if f["status"] == "violated":
        more = f["violation_count"] - len(f["violations"])
        yield from [f"    and {more} more"] if more > 0 else []
        yield from [f"    remedy: {visible(f['remedy'])}"] if f["remedy"] else []


def _violation(v: Mapping[str, Any]) -> Iterator[str]:
    where = f"{v['where']['path']}:{v['where']['line']}: " if v["where"] else ""
    yield f"  * {visible(where + v['message'])}"
    for label in ("subject", "expected", "actual", "counterexample"):
        if v[label] not in (None, ""):
            yield f"      {label}: {shown(v[label])}"


def _summary(made: Mapping[str, Any], colour: bool) -> str:
    counts = made["summary"]
    return ", ".join(_paint(s, f"{counts[s]} {s}", colour and counts[s] > 0) for s in STATUSES)


def _paint(status: str, text: str, colour: bool) -> str:
    return f"\x1b[{_COLOURS[status]}m{text}\x1b[0m" if colour else text
