"""An audit's document on a terminal: a screenful that begins with what matters, or every finding with its examples."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from coordexp_audit_lib.core.finding import SEVERITIES, STATUSES
from coordexp_audit_lib.core.ranking import counts, is_latent
from coordexp_audit_lib.report import result
from coordexp_audit_lib.report.tables import plain, text
from coordexp_audit_lib.report.text import cut, placed, shortened, shown, visible

_COLOURS = {"held": "32", "violated": "31", "unbound": "33", "error": "35"}
WIDTH, NARROWEST = 160, 80
FAILED = 5  # errors that are shown with their reason
SPACE = 2 * result.TOP  # lines for what matters first: two a finding, one an error


def render(
    made: Mapping[str, Any], *, colour: bool | None = None, verbose: bool = False, width: int | None = None
) -> str:
    """The report. `colour`: whether to use ANSI colours; by default only where stdout is a terminal. `verbose`: all
    findings, as it is also done for a single artifact. `width`: characters of a line of the screenful; by default the
    terminal's, and 160 where stdout is none."""
    if colour is None:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    if width is None:
        width = shutil.get_terminal_size((WIDTH, 40)).columns if sys.stdout.isatty() else WIDTH
    width = min(max(width, NARROWEST), WIDTH)
    findings = made["findings"]
    if verbose or made["target"]["kind"] == "artifact":
        longest = max((len(_name(f)) for f in findings), default=0)
        lines = [line for f in findings for line in _finding(f, longest, colour)]
        return "\n".join([*_head(made), "", *lines, "", _summary(made, colour)]) + "\n"
    lines = [*_matrix(made, width), *_top(findings, colour, width), _summary(made, colour)]
    return "\n".join([*_head(made), *lines]) + "\n"


def _head(made: Mapping[str, Any]) -> list[str]:
    t = made["target"]
    parts = [t["name"], t["kind"], t.get("commit", "")[:12], f"era {t['era']}" if t.get("era") else ""]
    note = f"; {t['note']}" if t.get("note") else ""
    return [visible("target: " + ", ".join(p for p in parts if p) + note)]


def _matrix(made: Mapping[str, Any], width: int) -> Iterator[str]:
    """Boundary by config: in each column also what is judged without one and reached from it."""
    frame = result.matrix(made)
    boundary, *configs = frame.columns
    room = (width - max(map(len, made["boundaries"]), default=0)) // max(1, len(configs)) - 2
    frame.columns = [boundary, *(c if len(c) <= room else f"…{c[1 - room :]}" for c in configs)]
    head, _, *rows = plain(frame).splitlines()  # the rule would cost a line
    yield from (head, *rows)
    yield ""


def _top(findings: Sequence[Mapping[str, Any]], colour: bool, width: int) -> Iterator[str]:
    """What failed and what is violated first, in no more lines than a screen has, and where the rest is."""
    failed = [f for f in findings if f["status"] == "error"]
    chosen = result.top(findings)[: (SPACE - len(failed[:FAILED])) // 2]
    for number, f in enumerate(chosen, 1):
        yield f"{number:>2}. {_paint('violated', f['severity'], colour)} {_headline(f, width - 7)}"
        yield f"    {_told(f, width - 4)}"
    for f in failed[:FAILED]:
        said = cut(f"{_name(f)}: {visible(f['note'])}", width - 11)
        yield f"    {_paint('error', 'error', colour)}  {said}"
    more = sum(map(counts, findings)) - len(chosen)
    rest = [f"{more} more that count"] if more else []
    latent = len([f for f in findings if is_latent(f)])
    rest += [f"{latent} latent"] if latent else []
    accepted = sum(bool(f["accepted"]) for f in findings)
    rest += [f"{accepted} accepted by the baseline"] if accepted else []
    rest += [f"{len(failed) - FAILED} more errors"] if len(failed) > FAILED else []
    if chosen or rest or failed:
        yield "; ".join([*([", ".join(rest)] if rest else []), "all of them: --verbose, --json, or --out FOLDER"])


def _headline(f: Mapping[str, Any], room: int) -> str:
    """Claim and place, then as much as there is room for of the other names, whose demand it is and who reaches it."""
    about = ", ".join(a for a in (_demand(f), _reached(f)) if a)
    names, few = (", ".join(n) for n in ((f["invariant"], *f["also"]), (f["invariant"],)))
    where, short = result.place(f), result.place(f, short=True)
    tries = [(names, where, about), (few, where, about), (few, short, about)]
    if f["authority"] == "practice":
        tries += [(few, short, "advice")]
    tries += [(few, where, ""), (few, short, "")]
    made = [visible(f"{n}  {w}" + (f"  ({a})" if a else "")) for n, w, a in tries]
    return next((m for m in made if len(m) <= room), cut(made[-1], room))


def _told(f: Mapping[str, Any], room: int) -> str:
    """What is wrong and the remedy: where both are too long, each gets its half, and what one leaves the other has."""
    what, cure = visible(f["violations"][0]["message"]), visible(f["remedy"])
    if not cure:
        return shortened(what, room)
    left = room - len(" → ")
    first = min(len(what), max(left // 2, left - len(cure)))
    return f"{shortened(what, first)} → {shortened(cure, left - first)}"


def _demand(f: Mapping[str, Any]) -> str:
    return "advice: our practice" if f["authority"] == "practice" else f"{f['authority']}"


def _reached(f: Mapping[str, Any]) -> str:
    if len(f["configs"]) > 1:
        return "in both configs" if len(f["configs"]) == 2 else f"in {len(f['configs'])} configs"
    if f["config"]:
        return result.config_name(f["config"])
    reached = result.reached_in(f)
    if reached:
        return (
            f"in {' and '.join(map(result.config_name, reached))}" if len(reached) < 3 else f"in {len(reached)} configs"
        )
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
        tail += f"; accepted: {visible(f['accepted'])}" if f["accepted"] else ""
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
    told = visible(result.reach_by(f))
    by = f" ({told})" if told else ""
    if f["reach"] == "none":
        return f"latent: no audited config leads there{by}"
    return f"reached by {f['reach']}{by}" if f["reach"] in ("this config", "another config") else f"reach unknown{by}"


def _kind(k: Mapping[str, Any]) -> str:
    subjects = f" ({', '.join(visible(s) for s in k['subjects'])}, …)" if k["subjects"] else ""
    return cut(f"{k['count']} x {visible(k['message'])}{subjects}", WIDTH)


def _violation(v: Mapping[str, Any]) -> Iterator[str]:
    yield f"  * {visible(placed(v))}"
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
    told += [f"{counted['accepted']} accepted"] if counted["accepted"] else []
    return ", ".join(told)


def _paint(status: str, text: str, colour: bool) -> str:
    return f"\x1b[{_COLOURS[status]}m{text}\x1b[0m" if colour else text


def failing(made: Mapping[str, Any], fail_on: str) -> str:
    """What fails, or could not be judged, a line each; nothing where all is well."""
    worst = SEVERITIES[: SEVERITIES.index(fail_on) + 1] if fail_on != "never" else ()
    lines = []
    for f in made["findings"]:
        if counts(f) and f["severity"] in worst:
            v = f["violations"][0]
            lines.append(cut(f"{f['severity']} {f['invariant']}: {visible(placed(v))}", WIDTH))
        elif f["status"] == "error":
            lines.append(cut(f"error {f['invariant']}: {visible(f['note'])}", WIDTH))
    return "".join(f"{line}\n" for line in lines)


def statistics(made: Mapping[str, Any]) -> str:
    """How many violations there are of each claim, the most first."""
    violated = [f for f in made["findings"] if f["status"] == "violated"]
    rows = [
        (f["violation_count"], f["checked"], f["severity"], f["invariant"], _stands(f))
        for f in sorted(violated, key=lambda f: -f["violation_count"])
    ]
    return text(("violations", "judged", "severity", "claim", "counted"), rows) if rows else "no violation"


def _stands(f: Mapping[str, Any]) -> str:
    if f["accepted"]:
        return "accepted"
    return f"with {f['same_as']}" if f["same_as"] else "yes" if counts(f) else "latent"
