"""What the pages say of a document: each number and word of theirs comes from here, for HTML and for LaTeX alike."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.finding import SEVERITIES
from coordexp_audit_lib.core.ranking import is_latent
from coordexp_audit_lib.report import result
from coordexp_audit_lib.report.pages.render import anchor
from coordexp_audit_lib.report.text import shown, spot, visible

HOST = "https://github.com"
MOST = 8  # kinds of one finding that are told one by one
SUBJECTS = 6
ABSENT = "not installed"


class Sign(msgspec.Struct, frozen=True):
    """How a verdict looks, told by shape and word and not by colour."""

    word: str
    html: str
    tex: str
    told: str


SIGNS = {
    "P0": Sign("P0", "✖", r"\auditPzero", "violated, P0: a run trains or evaluates something else, or does not start"),
    "P1": Sign("P1", "▲", r"\auditPone", "violated, P1: it does so once something else goes wrong silently"),
    "P2": Sign("P2", "△", r"\auditPtwo", "violated, P2: clarity or robustness; or advice"),
    "open": Sign("undecided", "?", r"\auditOpen", "could not be decided here"),
    "held": Sign("held", "✓", r"\auditHeld", "holds for every case that was judged"),
}


class Cell(msgspec.Struct, frozen=True):
    """Boundary by config: how many verdicts of each sign, the worst first."""

    counts: tuple[tuple[str, int], ...]

    @property
    def worst(self) -> str:
        return self.counts[0][0] if self.counts else ""


class Row(msgspec.Struct, frozen=True):
    """A boundary in the matrix. page: its page for each column, empty where there is none."""

    number: int
    name: str
    title: str
    cells: tuple[Cell, ...]
    pages: tuple[str, ...]


def matrix(made: Mapping[str, Any]) -> list[Row]:
    """A row for each boundary; the columns are those of `result.columns`."""
    rows = []
    by_config = {f["boundary"] for f in made["findings"] if f["config"] is not None}
    for name in made["boundaries"]:
        b = boundaries.boundary(name)
        columns = result.columns(made)
        cells = tuple(Cell(tuple(result.tally(made["findings"], name, c).items())) for c in columns)
        pages = tuple(page_of(b, c, name in by_config) for c in columns)
        rows.append(Row(b.number, name, b.title, cells, pages))
    return rows


def page_of(b: boundaries.Boundary, config: str | None, depends: bool) -> str:
    """The page of a boundary in the book, for a config or (None) for any; one that does not depend on it has one."""
    if not depends:
        return f"pages/{b.number:02d}_{b.name}"
    return f"pages/{boundaries.page(b, config)}" if config else ""


def sentence(made: Mapping[str, Any]) -> str:
    """The result in one sentence."""
    s = made["summary"]
    judged = s["held"] + s["violated"] + s["unbound"] + s["error"]
    bad = ", ".join(f"{s['by_severity'][p]['violated']} {p}" for p in SEVERITIES if s["by_severity"][p]["violated"])
    advice = f"; {s['advice']} of them are advice" if s["advice"] else ""
    violated = f"{s['violated']} are violated ({bad}{advice})" if s["violated"] else "none is violated"
    return (
        f"Of {judged} verdicts on {subject(made)}, {s['held']} claims hold, {violated}, "
        f"and {s['unbound'] + s['error']} could not be decided."
    )


def subject(made: Mapping[str, Any]) -> str:
    """Who was audited, as one says it."""
    target = made["target"]
    commit = f" at commit {target['commit'][:12]}" if target.get("commit") else ""
    return visible(f"{target.get('repository') or target['name']}{commit}")


def link(made: Mapping[str, Any], where: Mapping[str, Any] | None) -> str:
    """The line at the commit on its public host; "" where the tree has no public place or is not that commit's."""
    target = made["target"]
    repository, commit = target.get("repository", ""), target.get("commit", "")
    if not where or not where["path"] or target.get("dirty") or not re.fullmatch(r"[0-9a-f]{7,40}", commit):
        return ""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        return ""
    line = f"#L{where['line']}" if where.get("line") else ""
    return f"{HOST}/{repository}/blob/{commit}/{quote(where['path'])}{line}"


def finding(made: Mapping[str, Any], f: Mapping[str, Any]) -> dict[str, Any]:
    """A finding as a card shows it: the like folded, with counts and subjects, then the examples."""
    first = f["violations"][0] if f["violations"] else None
    where = first["where"] if first else None
    configs = f["configs"] or ([f["config"]] if f["config"] else [])
    return {
        **{k: f[k] for k in ("invariant", "boundary", "severity", "status", "claim", "checked", "remedy", "note")},
        "anchor": finding_anchor(made, f),
        "page": claim_page(f["invariant"]),
        "sign": result.sign(f) or str(f["severity"]),
        "count": f["violation_count"],
        "latent": is_latent(f),
        "same_as": f["same_as"],
        "advice": f["authority"] == "practice",
        "demand": f["spec"] if f["authority"] != "practice" else "",
        "authority": f["authority"],
        "reach": ": ".join(t for t in (f["reach"] or "", result.reach_by(f)) if t),
        "configs": [result.config_name(c) for c in configs],
        "also": list(f["also"]),
        "message": first["message"] if first else f["note"] or f["claim"],
        "place": spot(where),
        "symbol": where["symbol"] if where else "",
        "link": link(made, where),
        "found": first["found"] if first else "",
        "kinds": _kinds(f["kinds"]),
        "more_kinds": max(0, len(f["kinds"]) - MOST),
        "examples": [_example(made, v) for v in f["violations"]],
        "calls": [_call(made, e) for e in f["evidence"] if e["kind"] == "call"],
    }


def _kinds(kinds: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The like together: what they say, how many, and of what."""
    made = []
    for k in kinds[:MOST]:
        subjects = [shown(s, 80) for s in k["subjects"] if s and s not in k["message"]]
        more = k["count"] - len(subjects) if len(k["subjects"]) > SUBJECTS or k["count"] > len(k["subjects"]) else 0
        made.append(
            {"message": k["message"], "count": k["count"], "subjects": subjects[:SUBJECTS], "more": max(0, more)}
        )
    return made


def _example(made: Mapping[str, Any], v: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("subject", "expected", "actual", "counterexample")
    values = [(key, shown(v[key])) for key in keys if v[key] not in (None, "")]
    others = [(spot(p["where"]), link(made, p["where"])) for p in v["others"][:3]]
    return {
        "message": v["message"],
        "place": spot(v["where"]),
        "link": link(made, v["where"]),
        "values": values,
        "others": others,
    }


def _call(made: Mapping[str, Any], e: Mapping[str, Any]) -> dict[str, Any]:
    where = {"path": e.get("path", ""), "line": e.get("line", 0)}
    return {
        "surface": e.get("surface", ""),
        "symbol": e.get("symbol", ""),
        "place": spot(where) if where["path"] else "",
        "link": link(made, where),
        "calls": e.get("calls", 0),
        "digest": e.get("digest", ""),
    }


def finding_anchor(made: Mapping[str, Any], f: Mapping[str, Any]) -> str:
    """The id of a finding's card; of several of one claim the later ones are numbered."""
    mine = [g for g in made["findings"] if g["invariant"] == f["invariant"]]
    number = next(n for n, g in enumerate(mine) if g is f or g == f)
    return f"finding-{anchor(f['invariant'])}" + (f"-{number + 1}" if number else "")


def claim_page(invariant: str) -> str:
    """The page of a claim in the book, without suffix."""
    return f"claims/{anchor(invariant)}"


def top(made: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [finding(made, f) for f in result.top(made["findings"])]


def limits(made: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the audited environment lacks, and the verdicts that name it in what was not judged."""
    absent = [n for n, v in sorted(made["target"].get("versions", {}).items()) if v == ABSENT]
    rows = []
    for name in absent:
        word = re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])", re.IGNORECASE)
        touched = sorted({f["invariant"] for f in made["findings"] if word.search(f["note"] or "")})
        rows.append({"name": name, "touched": touched})
    return sorted(rows, key=lambda r: (not r["touched"], r["name"]))


def audited(made: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Who and what was audited, by what."""
    target, tool = made["target"], made["tool"]
    rows = [
        (key, str(target[key])) for key in ("name", "repository", "kind", "commit", "date", "era") if target.get(key)
    ]
    if target.get("dirty") is not None:
        rows.append(("uncommitted changes", "yes" if target["dirty"] else "no"))
    rows += [("interpreter", f"Python {target['interpreter']}")] if target.get("interpreter") else []
    there = {n: v for n, v in sorted(target.get("versions", {}).items()) if v != ABSENT}
    rows += [("its packages", ", ".join(f"{n} {v}" for n, v in there.items()))] if there else []
    rows += [("configurations", ", ".join(made["configs"]))] if made["configs"] else []
    rows += [("audited with", f"coordexp-audit {tool.get('version', '')}, Python {tool.get('python', '')}")]
    return rows + ([("note", target["note"])] if target.get("note") else [])


def recipe(made: Mapping[str, Any]) -> list[str]:
    """Commands that make these pages again."""
    target = made["target"]
    named = target["name"] if target["kind"] in ("recording", "reference") else "CHECKOUT --python INTERPRETER"
    checkout = (
        f"git -C CHECKOUT switch --detach {target['commit']}" if "CHECKOUT" in named and target.get("commit") else ""
    )
    configs = "".join(f" --config {c}" for c in made["configs"])
    lines = [checkout, f"coordexp-audit run --target {named}{configs} --fail-on never --out runs/again"]
    return [visible(line) for line in (*lines, "coordexp-audit book runs/again") if line]


def of_page(made: Mapping[str, Any], boundary: str, config: str | None, depends: bool) -> list[Mapping[str, Any]]:
    """The findings of a boundary's page: of its config and of any, or all where the boundary depends on none."""
    return [
        f
        for f in made["findings"]
        if f["boundary"] == boundary and (not depends or f["config"] is None or config in f["configs"])
    ]


def tally(found: Iterable[Mapping[str, Any]]) -> str:
    """What findings came to, in a sentence."""
    told = [result.sign(f) for f in found]
    aside = told.count("")
    parts = [f"{told.count(key)} {SIGNS[key].word}" for key in ("P0", "P1", "P2") if told.count(key)]
    words = [f"{told.count('held')} hold"] if told.count("held") else []
    words += [f"{sum(told.count(k) for k in SEVERITIES)} are violated ({', '.join(parts)})"] if parts else []
    words += [f"{told.count('open')} could not be decided"] if told.count("open") else []
    words += [f"{aside} are told apart, for they count elsewhere or are latent"] if aside else []
    return f"{len(told)} verdicts: {'; '.join(words)}." if told else "Nothing was judged."
