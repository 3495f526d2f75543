"""The generated pages as Markdown: each holds its content twice, as HTML and as LaTeX."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import Claim, declared
from coordexp_audit_lib.core.ranking import is_latent
from coordexp_audit_lib.core.surface import Surface
from coordexp_audit_lib.report import result
from coordexp_audit_lib.report.claims import described, faults_of
from coordexp_audit_lib.report.latex import escape
from coordexp_audit_lib.report.pages import facts
from coordexp_audit_lib.report.pages.render import as_html, as_tex, raw
from coordexp_audit_lib.report.text import breakable, spot

# The first page's title is the book's in LaTeX, which leaves the page itself without one.
_CHAPTER = "\\chapter*{Result}\n\\addcontentsline{toc}{chapter}{Result}"
SHORT = 64  # characters of a demand in a line of a table for print
KINDS = {
    "B": "behaviour: the target's own function is asked",
    "S": "source: it is read, and not run",
    "A": "an artifact that a run left behind",
}


def both(name: str, **values: Any) -> str:
    """A block of a page, from `name.html` and `name.tex`."""
    values = {"signs": facts.SIGNS, **values}
    return f"{raw('html', as_html(f'{name}.html', **values))}\n\n{raw('latex', as_tex(f'{name}.tex', **values))}"


def page(*blocks: str) -> str:
    """A page of Markdown. What is from outside must stand in a `both` or `raw` block."""
    return "\n\n".join(b for b in blocks if b) + "\n"


def matrix_values(made: Mapping[str, Any]) -> dict[str, Any]:
    """What the matrix shows, with its columns' names."""
    return {
        "rows": facts.matrix(made),
        "columns": result.column_names(made),
        "commit": made["target"].get("commit", ""),
    }


def result_page(made: Mapping[str, Any], power: str, compared: Sequence[tuple[str, str]] = ()) -> str:
    """The book's first page: what the audit came to, and what matters first.

    power: a sentence on the detection power, or how to measure it. compared: title and page of other commits.
    """
    values = {"signs": facts.SIGNS, "sentence": facts.sentence(made), **matrix_values(made)}
    top = facts.top(made)
    number = {0: "What matters", 1: "The finding that matters"}.get(len(top), f"The {len(top)} findings that matter")
    return page(
        "# Result",
        raw("latex", _CHAPTER + "\n" + as_tex("sentence.tex", text=facts.sentence(made))),
        raw("html", as_html("result.html", **values)),
        raw("latex", as_tex("matrix.tex", **values) + "\n" + as_tex("key.tex", **values)),
        f"## {number}",
        both("top", top=top),
        "## What was audited",
        both("audited", rows=facts.audited(made)),
        "## Limits of the environment",
        both("limits", rows=facts.limits(made)),
        "## Detection power",
        power,
        "Each [claim's page](claims.md) names the deliberate faults that must break it.",
        "## Other commits" if compared else "",
        *(f"- [{title}]({name})" for title, name in compared),
        "## Make these pages again",
        both("recipe", lines=facts.recipe(made)),
        "New to this? [How to read it](intro.md), [how claims are judged](method.md), and a [glossary](glossary.md).",
    )


def findings_page(made: Mapping[str, Any]) -> str:
    """What is violated, with filters; then what could not be decided, what is latent, and what answered."""
    violated = [f for f in made["findings"] if f["status"] == "violated"]
    counted = [facts.finding(made, f) for f in violated if not is_latent(f)]
    latent = [facts.finding(made, f) for f in violated if is_latent(f)]
    undecided = [facts.finding(made, f) for f in made["findings"] if f["status"] in ("unbound", "error")]
    filters = {
        "signs": facts.SIGNS,
        "boundaries": made["boundaries"],
        "configs": list(dict.fromkeys(c for f in counted + latent for c in f["configs"])),
    }
    return page(
        "# Findings",
        "What is violated, the like folded together, with the place to mend, the remedy and the evidence.",
        "## Violated",
        raw("html", as_html("findings.html", findings=counted, **filters)),
        raw("latex", as_tex("cards.tex", findings=counted, signs=facts.SIGNS, whole=True, short=False)),
        *(("## Latent", "No audited configuration leads to these; they count nowhere.") if latent else ()),
        both("cards", findings=latent, up="", whole=True, short=False) if latent else "",
        *(("## Undecided", "These claims are neither held nor violated.") if undecided else ()),
        both("verdicts", rows=lines(undecided), up="", caption="") if undecided else "",
        "## What answered",
        "How the target answers each question, and where the function stands.",
        both("surfaces", rows=_surfaces(made)),
    )


def lines(told: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Findings with their demand short enough for a line."""
    return [{**f, "short": cut_words(f["claim"], SHORT)} for f in told]


def cut_words(text: str, limit: int) -> str:
    """The text's beginning up to a word's end, at most `limit` characters."""
    if len(text) <= limit:
        return text
    return text[: limit - 1].rsplit(" ", 1)[0].rstrip(",;:.") + "…"


def _surfaces(made: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for name, b in sorted(made["target"].get("surfaces", {}).items()):
        where = {"path": b["path"], "line": b["line"]} if b["path"] else None
        told = {"place": spot(where), "link": facts.link(made, where)}
        rows.append({"name": name, "status": b["status"], "symbol": b["symbol"], "note": b["note"], **told})
    return rows


def found_blocks(made: Mapping[str, Any], found: Sequence[Mapping[str, Any]], config: str) -> str:
    """The first blocks of a boundary's page: what it came to, what is violated, and each claim with its verdict."""
    told = [facts.finding(made, f) for f in found]
    bad = [f for f in told if f["status"] == "violated" and not f["same_as"]]
    tally = {"tally": facts.tally(found), "config": config}
    return page(
        both("tally", **tally),
        "## What was found",
        both("cards", findings=bad, up="../", whole=False, short=False) if bad else "No claim is violated here.",
        "## What is claimed",
        both("verdicts", rows=lines(told), up="../", caption=""),
    )


def comparison_page(made: Mapping[str, Any], compared: Sequence[tuple[str, str]]) -> str:
    """Where the audited configurations come out differently; then the other commits, and how to compare runs.

    compared: title and page of other commits.
    """
    configs = made["configs"]
    by_claim: dict[str, dict[str, Mapping[str, Any]]] = {}
    for f in made["findings"]:
        for config in f["configs"]:
            by_claim.setdefault(f["invariant"], {})[config] = f
    rows = []
    for claim, found in by_claim.items():
        verdicts = [_verdict(made, found.get(config)) for config in configs]
        if len({(v["sign"], v["count"]) for v in verdicts}) > 1:
            rows.append({"id": claim, "page": facts.claim_page(claim), "verdicts": verdicts})
    names = [result.config_name(c) for c in configs]
    same = len(by_claim) - len(rows)
    several = f"Of {len(by_claim)} claims that are judged for each configuration, {same} come out alike in all of them."
    return page(
        "# Comparison",
        "## Configurations",
        several if len(configs) > 1 else "One configuration was audited.",
        both("comparison", rows=rows, columns=names) if rows else "",
        "## Commits" if compared else "",
        *(f"- [{title}]({name})" for title, name in compared),
        "## Runs",
        "`coordexp-audit diff BEFORE AFTER` says what changed between two audits, and "
        "`coordexp-audit manifest RUN --against RUN` what can make two training runs differ.",
    )


def _verdict(made: Mapping[str, Any], f: Mapping[str, Any] | None) -> dict[str, Any]:
    if f is None:
        return {"sign": "", "word": "not judged", "count": 0, "anchor": ""}
    key = result.sign(f)
    word = f["status"] if key else "latent" if not f["same_as"] else f"counted with {f['same_as']}"
    anchor = facts.finding_anchor(made, f) if f["status"] == "violated" else ""
    return {"sign": key, "word": word, "count": f["violation_count"], "anchor": anchor}


def compared_page(made: Mapping[str, Any], changes: Sequence[Any]) -> str:
    """The page of another recording of the same pipeline: its result, and what changed on the way to it.

    changes: those of `report.compare`.
    """
    values = {"signs": facts.SIGNS, "sentence": facts.sentence(made), **matrix_values(made)}
    values["rows"] = [_without_pages(row) for row in values["rows"]]
    return page(
        "# Another commit",
        "The same claims, asked of another recorded commit of the pipeline.",
        raw("html", as_html("result.html", **values)),
        raw("latex", as_tex("matrix.tex", **values)),
        "## What changed",
        "From the commit that this book is about to the other, the worse first.",
        both("changes", changes=changes),
        "## What was audited there",
        both("audited", rows=facts.audited(made)),
    )


def _without_pages(row: facts.Row) -> facts.Row:
    """A boundary of another commit has no page in this book."""
    return facts.Row(row.number, row.name, row.title, row.cells, ("",) * len(row.cells))


def claims_page(made: Mapping[str, Any], told: Sequence[Told]) -> str:
    """The page of all claims, by boundary; for print, each claim whole."""
    groups, print_ = [], []
    for name in dict.fromkeys(t.boundary for t in told):
        title = next((b.title for b in boundaries.BOUNDARIES if b.name == name), name)
        mine = [t for t in told if t.boundary == name]
        groups.append((title, name, [{"id": t.id, "claim": t.claim, "page": facts.claim_page(t.id)} for t in mine]))
        print_ += [f"\\section{{{escape(title)}}}", *(t.print for t in mine)]
    count = (
        f"{len(told)} claims, by boundary. Each has a page: what it demands and why, what decides it, and its faults."
    )
    return page(
        "# Claims", count, raw("html", as_html("claims.html", groups=groups)), raw("latex", "\n\n".join(print_))
    )


class Told(msgspec.Struct, frozen=True):
    """A claim's page. parts: HTML by the name of the mark that it replaces in the page that all claims share."""

    id: str
    boundary: str
    claim: str
    parts: dict[str, str]
    print: str


PARTS = ("title", "demand", "facts", "verdicts", "faults")  # of a claim's page


def mark(part: str) -> str:
    """What stands in the shared page where a claim has its own."""
    return f"AUDIT{part.upper()}"


def shared_claim_page() -> str:
    """The page that is built once and filled in for every claim, so that each costs no more than its own words."""
    words = {name: raw("html", mark(name)) for name in PARTS}
    return page(
        "---\norphan: true\nnosearch: true\n---",
        f"# {mark('title')}",
        words["demand"],
        words["facts"],
        "## In this run",
        words["verdicts"],
        "## Faults that must break it",
        words["faults"],
    )


def claims_told(made: Mapping[str, Any]) -> list[Told]:
    """Every claim as its page tells it; boundaries must be loaded."""
    order = {b.name: b.number for b in boundaries.BOUNDARIES}
    return [_claim(made, c) for c in sorted(declared(), key=lambda c: (order.get(c.boundary, 99), c.id))]


def _claim(made: Mapping[str, Any], claim: Claim) -> Told:
    told = described(claim)
    cited = [(str(c), f"{facts.HOST}/{c.repository}/blob/{c.commit}/{c.path}") for c in claim.spec]
    demanded = {f["spec"] for f in made["findings"] if f["invariant"] == claim.id and f["authority"] == "spec"}
    cited += [(text, "") for text in sorted(demanded) if text]
    mine = [facts.finding(made, f) for f in made["findings"] if f["invariant"] == claim.id]
    broken = [(f.id, f.summary, _where_broken(f)) for f in faults_of(claim)]
    c = {**told, "kind": KINDS[claim.kind], "citations": cited, "root": claim.root}
    values: dict[str, Any] = {"signs": facts.SIGNS, "c": c, "faults": broken}
    judged = {"verdicts": mine, "artifact": not claim.of_targets, "signs": facts.SIGNS}
    as_page, as_print = prose(claim.doc)
    parts = {
        "title": html.escape(claim.id),
        "demand": as_page,
        "facts": as_html("claim.html", **values),
        "verdicts": as_html("claimed.html", **judged),
        "faults": as_html("faults.html", faults=broken),
    }
    print_ = f"\\subsection{{{escape(claim.id)}}}\n{as_print}\n{as_tex('claim.tex', **values)}"
    return Told(claim.id, claim.boundary, claim.claim, parts, print_)


def _where_broken(fault: Any) -> str:
    surface = getattr(fault, "surface", None)
    return surface.name if isinstance(surface, Surface) else "an artifact"


def prose(doc: str) -> tuple[str, str]:
    """A docstring of ours as HTML and as LaTeX; words between backticks are code, and nothing else is markup."""
    paragraphs = [" ".join(p.split()) for p in doc.split("\n\n") if p.strip()]
    as_page = "".join(f"<p>{_spans(p, breakable, '<code>', '</code>')}</p>" for p in paragraphs)
    return as_page, "\n\n".join(_spans(p, escape, "\\texttt{", "}") for p in paragraphs)


def _spans(text: str, escaped: Callable[[str], str], opens: str, closes: str) -> str:
    parts = re.split(r"`+([^`]+)`+", text)
    return "".join(f"{opens}{escaped(p)}{closes}" if n % 2 else escaped(p) for n, p in enumerate(parts))


__all__ = [
    "claims_page",
    "claims_told",
    "compared_page",
    "comparison_page",
    "findings_page",
    "found_blocks",
    "result_page",
]
