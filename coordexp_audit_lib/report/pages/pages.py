"""The generated pages as Markdown: each holds its content twice, as HTML and as LaTeX."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.core.claim import Claim, declared
from coordexp_audit_lib.core.ranking import is_latent
from coordexp_audit_lib.core.surface import Surface
from coordexp_audit_lib.report import result
from coordexp_audit_lib.report.claims import described, faults_of
from coordexp_audit_lib.report.latex import escape
from coordexp_audit_lib.report.pages import facts
from coordexp_audit_lib.report.pages.render import as_html, as_tex, raw
from coordexp_audit_lib.report.text import cut, visible

# The first page's title is the book's in LaTeX, which leaves the page itself without one.
_CHAPTER = "\\chapter*{Result}\n\\addcontentsline{toc}{chapter}{Result}"
SHORT = 92  # characters of a demand in a line of a table for print
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
    names = [result.config_name(c) for c in result.columns(made)]
    told = [visible(c) if c and names.count(n) > 1 else n for c, n in zip(result.columns(made), names, strict=True)]
    return {"rows": facts.matrix(made), "columns": told, "commit": made["target"].get("commit", "")}


def result_page(made: Mapping[str, Any], power: str, compared: Sequence[tuple[str, str]] = ()) -> str:
    """The book's first page: what the audit came to, and what matters first.

    power: a sentence on the detection power; "" where the run has no measurement of it. compared: title and page of
    other commits.
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
        power or "This run has no measurement of it; `coordexp-audit faults` makes one.",
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
        raw("html", as_html("findings.html", findings=counted, **filters)),
        raw("latex", as_tex("cards.tex", findings=counted, signs=facts.SIGNS, whole=True)),
        *(("## Latent", "No audited configuration leads to these; they count nowhere.") if latent else ()),
        both("cards", findings=latent, up="", whole=True) if latent else "",
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
        told = {"place": facts.place(where), "link": facts.link(made, where)}
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
        both("cards", findings=bad, up="../", whole=False) if bad else "No claim is violated here.",
        "## What is claimed",
        both("verdicts", rows=lines(told), up="../", caption=""),
    )


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


def claims_pages(made: Mapping[str, Any]) -> dict[str, str]:
    """The page of all claims and one for each, by name without suffix; boundaries must be loaded."""
    known = declared()
    order = {b.name: b.number for b in boundaries.BOUNDARIES}
    known = sorted(known, key=lambda c: (order.get(c.boundary, 99), c.id))
    pages = {facts.claim_page(c.id): _claim_page(made, c) for c in known}
    groups = []
    for name in dict.fromkeys(c.boundary for c in known):
        title = next((b.title for b in boundaries.BOUNDARIES if b.name == name), name)
        mine = [{"id": c.id, "claim": c.claim, "page": facts.claim_page(c.id)} for c in known if c.boundary == name]
        groups.append((title, name, mine))
    count = (
        f"{len(known)} claims, by boundary. Each has a page: what it demands and why, what decides it, and its faults."
    )
    return {"claims": page("# Claims", count, raw("html", as_html("claims.html", groups=groups))), **pages}


def _claim_page(made: Mapping[str, Any], claim: Claim) -> str:
    told = described(claim)
    cited = [(str(c), f"{facts.HOST}/{c.repository}/blob/{c.commit}/{c.path}") for c in claim.spec]
    demanded = {f["spec"] for f in made["findings"] if f["invariant"] == claim.id and f["authority"] == "spec"}
    cited += [(text, "") for text in sorted(demanded) if text]
    mine = [facts.finding(made, f) for f in made["findings"] if f["invariant"] == claim.id]
    broken = [(f.id, f.summary, _where_broken(f)) for f in faults_of(claim)]
    values = {"c": {**told, "kind": KINDS[claim.kind], "citations": cited, "root": claim.root}, "faults": broken}
    return page(
        f"# {_title(claim.id)}",
        prose(claim.doc),
        both("claim", **values),
        "## In this run",
        both("claimed", verdicts=mine, artifact=not claim.of_targets),
        "## Faults that must break it" if broken else "",
        raw("html", as_html("faults.html", faults=broken)) if broken else "",
    )


def _where_broken(fault: Any) -> str:
    surface = getattr(fault, "surface", None)
    return surface.name if isinstance(surface, Surface) else "an artifact"


def _title(id: str) -> str:
    return id.replace("_", "\\_")


def prose(doc: str) -> str:
    """A docstring of ours as paragraphs; words between backticks are code, and nothing else is markup."""
    paragraphs = [" ".join(p.split()) for p in doc.split("\n\n") if p.strip()]
    as_page = "".join(f"<p>{_spans(p, html.escape, '<code>', '</code>')}</p>" for p in paragraphs)
    as_print = "\n\n".join(_spans(p, escape, "\\texttt{", "}") for p in paragraphs)
    return f"{raw('html', as_page)}\n\n{raw('latex', as_print)}"


def _spans(text: str, escaped: Callable[[str], str], opens: str, closes: str) -> str:
    parts = re.split(r"`+([^`]+)`+", text)
    return "".join(f"{opens}{escaped(p)}{closes}" if n % 2 else escaped(p) for n, p in enumerate(parts))


__all__ = ["claims_pages", "compared_page", "cut", "findings_page", "found_blocks", "result_page"]
