"""The page of all findings, as an executed notebook whose tables are rendered like any other's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from coordexp_audit_lib.core.ranking import counts, is_latent
from coordexp_audit_lib.report import result
from coordexp_audit_lib.report.tables import bundle, table
from coordexp_audit_lib.report.text import shown

if TYPE_CHECKING:
    import pandas as pd

# The first page's title is the book's in LaTeX, which leaves the page itself without one.
_CHAPTER = "```{raw} latex\n\\chapter*{Result}\n\\addcontentsline{toc}{chapter}{Result}\n```"


def result_page(made: Mapping[str, Any]) -> str:
    """The book's first page, as a notebook's JSON: what the audit came to, and what matters first."""
    cells = [
        _prose(
            "# Result", _CHAPTER, "What the audit came to, for each boundary of the pipeline and each configuration."
        ),
        *_tables([result.matrix(made)]),
        _prose("## What matters first"),
        *_tables([result.first(made)]),
        _prose("## Verdicts by severity"),
        *_tables([result.counted(made)]),
        _prose("## What was audited"),
        *_tables([_target(made)]),
    ]
    return _notebook(cells)


def compared_page(made: Mapping[str, Any], changes: pd.DataFrame) -> str:
    """The page of another recording of the same pipeline: its result, and what changed on the way to it."""
    cells = [
        _prose("# Another commit", "The same claims, asked of another recorded commit of the pipeline."),
        *_tables([result.matrix(made)]),
        _prose("## What matters first there"),
        *_tables([result.first(made)]),
        _prose("## What changed", "From the commit that this book is about to the other, the worse first."),
        *_tables([changes]),
        _prose("## What was audited there"),
        *_tables([_target(made)]),
    ]
    return _notebook(cells)


def findings_page(made: Mapping[str, Any]) -> str:
    """The notebook's JSON: violations with file and line, then every finding."""
    cells = [
        _prose("# Findings", "What is violated, where it is to be mended, and every claim with its verdict."),
        _prose("## Violations"),
        *_violations(made["findings"]),
        *_undecided(made["findings"]),
        _prose("## Every claim"),
        *_tables(_all(made)),
        _prose("## What answered", "How the target answers each question, and where the function stands."),
        *_tables([_surfaces(made["target"].get("surfaces", {}))]),
    ]
    return _notebook(cells)


def _notebook(cells: list[dict[str, Any]]) -> str:
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 4,
    }
    return json.dumps(notebook, indent=1) + "\n"


def _prose(*paragraphs: str) -> dict[str, Any]:
    """A Markdown cell. Only this module's own words may go in."""
    return {"cell_type": "markdown", "metadata": {}, "source": "\n\n".join(paragraphs)}


def _tables(tables: Iterable[pd.DataFrame]) -> list[dict[str, Any]]:
    """One cell without visible input for each table."""
    cells = []
    for one in tables:
        output = {"output_type": "display_data", "metadata": {}, "data": bundle(one)}
        cells.append(
            {
                "cell_type": "code",
                "execution_count": 1,
                "metadata": {"tags": ["remove-input"]},
                "source": "# generated from audit.json",
                "outputs": [output],
            }
        )
    return cells


def _target(made: Mapping[str, Any]) -> pd.DataFrame:
    target = made["target"]
    rows = [(key, target[key]) for key in ("name", "kind", "commit", "date", "era") if target.get(key)]
    if target.get("dirty") is not None:
        rows.append(("uncommitted changes", "yes" if target["dirty"] else "no"))
    rows += [("interpreter", target["interpreter"])] if target.get("interpreter") else []
    rows += [(f"version of {name}", version) for name, version in sorted(target.get("versions", {}).items())]
    rows += [("config", config) for config in made["configs"]]
    rows += [("audited with", f"coordexp-audit {made['tool']['version']}")]
    rows += [("note", target["note"])] if target.get("note") else []
    return table(("what", "value"), rows)


def _violations(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    counted = [f for f in findings if counts(f)]
    latent = [f for f in findings if is_latent(f)]
    cells = _tables(map(_violation, counted)) or [_prose("No claim is violated by what an audited config leads to.")]
    if latent:
        cells += [_prose("## Latent violations", "No audited config leads to these; they count nowhere.")]
        cells += _tables(map(_violation, latent))
    return cells


def _violation(f: Mapping[str, Any]) -> pd.DataFrame:
    """One violated claim: where, what, and the smallest counterexamples."""
    rows: list[tuple[str, Any]] = [
        ("claim", f["claim"]),
        ("severity", f["severity"]),
        ("demanded by", f["spec"] if f["authority"] != "practice" else "our practice; this is advice"),
        ("reached by", ": ".join(t for t in (f["reach"] or "unknown", f["reach_by"]) if t)),
        ("violations", f"{f['violation_count']} in {f['checked']} cases judged"),
    ]
    rows += [("config", ", ".join(f["configs"] or [f["config"]]))] if f["config"] else []
    rows += [("also told by", ", ".join(f["also"]))] if f["also"] else []
    for number, v in enumerate(f["violations"], 1):
        mark = f" {number}" if len(f["violations"]) > 1 else ""
        where = v["where"]
        rows += [(f"where{mark}", f"{_place(where)} (by {v['found'] or 'the claim'})")] if where else []
        rows += [(f"or{mark}", "; ".join(_place(p["where"]) for p in v["others"]))] if v["others"] else []
        rows.append((f"what{mark}", v["message"]))
        keys = ("subject", "expected", "actual", "counterexample")
        rows += [(f"{key}{mark}", shown(v[key])) for key in keys if v[key] not in (None, "")]
    return table((f["invariant"], "violated"), [*rows, ("remedy", f["remedy"])])


def _place(where: Mapping[str, Any]) -> str:
    return f"{where['path']}:{where['line']} {where['symbol']}".rstrip()


def _undecided(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = [
        (f["invariant"], f["severity"], f["config"] or "-", f["status"], f["note"])
        for f in findings
        if f["status"] in ("unbound", "error")
    ]
    if not rows:
        return []
    why = "These claims are neither held nor violated."
    return [_prose("## Undecided", why), *_tables([table(("claim", "severity", "config", "status", "why"), rows)])]


def _all(made: Mapping[str, Any]) -> list[pd.DataFrame]:
    """A table per boundary."""
    boundaries = made["boundaries"]
    header = ("invariant", "severity", "status", "cases judged", "config", "claim")
    return [
        table(
            header,
            [
                (f["invariant"], f["severity"], f["status"], f["checked"], _stems(f), f["claim"])
                for f in made["findings"]
                if f["boundary"] == name
            ],
            caption=f"Boundary {name}",
        )
        for name in boundaries
    ]


def _stems(f: Mapping[str, Any]) -> str:
    configs = f["configs"] or ([f["config"]] if f["config"] else [])
    return ", ".join(c.rsplit("/", 1)[-1] for c in configs) or "-"


def _surfaces(surfaces: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    rows = [
        (name, b["status"], b["symbol"] or "-", f"{b['path']}:{b['line']}" if b["path"] else "-", b["note"] or "-")
        for name, b in sorted(surfaces.items())
    ]
    return table(("surface", "binding", "symbol", "where", "note"), rows)
