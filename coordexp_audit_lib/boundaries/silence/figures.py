"""12 as data and tables: where failures vanish, and what errors say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coordexp_audit_lib.boundaries.silence.predicates import PARTS, lacks
from coordexp_audit_lib.boundaries.silence.surfaces import SUPPRESSIONS, ScanRequest
from coordexp_audit_lib.core.claim import Context, exhibit, provocations
from coordexp_audit_lib.core.errors import SurfaceUnbound
from coordexp_audit_lib.report.tables import table

if TYPE_CHECKING:
    import pandas as pd


@exhibit("silence.scan")
def scan(ctx: Context) -> dict[str, Any]:
    """What was read, and each place where every exception vanishes."""
    found = ctx.value(SUPPRESSIONS, ScanRequest(ctx.contract["silence.core_folder"]))
    rows = [[f"{s.path}:{s.line}", s.symbol or "-", s.form] for s in found.suppressions]
    return {"files": found.files, "handlers": found.handlers, "unparsed": found.unparsed, "rows": rows}


@exhibit("silence.errors")
def errors(ctx: Context) -> dict[str, Any]:
    """By surface: how many errors were provoked, how many lack a part, and an example of each kind."""
    rows: list[list[Any]] = []
    examples: list[list[str]] = []
    for provocation in provocations():
        name = provocation.surface.name
        try:
            answers = [(label, a.refusal) for label, a in provocation.ask(ctx) if a.refusal is not None]
        except SurfaceUnbound:
            rows.append([name, "not answered", "-", "-", "-", "-"])
            continue
        missing = [(label, r, lacks(r.message)) for label, r in answers]
        counts = [sum(part in parts for _, _, parts in missing) for part in PARTS]
        rows.append([name, len(answers), sum(not parts for _, _, parts in missing), *counts])
        for kind in (True, False):
            chosen = next(((label, r, parts) for label, r, parts in missing if bool(parts) is kind), None)
            if chosen:
                label, refusal, parts = chosen
                lacking = ", ".join(p.removeprefix("a ") for p in parts) or "nothing"
                examples.append([name, label, f"{refusal.type}: {refusal.message}", lacking])
    return {"rows": rows, "examples": examples}


def scan_table(data: dict[str, Any]) -> pd.DataFrame:
    caption = f"{data['files']} files, {data['handlers']} exception handlers read"
    return table(("where", "function", "what stands there"), data["rows"], caption)


def errors_table(data: dict[str, Any]) -> pd.DataFrame:
    return table(("surface", "errors", "actionable", "no cause", "no place", "no remedy"), data["rows"])


def examples_table(data: dict[str, Any]) -> pd.DataFrame:
    return table(("surface", "input", "what the target said", "it lacks"), data["examples"])
