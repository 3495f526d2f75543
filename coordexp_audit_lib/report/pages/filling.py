"""The pages of claims: Sphinx builds one of them, and each claim's own words are put into a copy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from coordexp_audit_lib.core.errors import AuditError
from coordexp_audit_lib.core.folder import write_atomically
from coordexp_audit_lib.report.pages import facts
from coordexp_audit_lib.report.pages.pages import PARTS, Told, mark
from coordexp_audit_lib.report.text import breakable

SHARED = "claims/shared"  # the page that is built, without suffix


def fill_claims(html: Path, told: Sequence[Told]) -> None:
    """Write the page of every claim beside the shared one, which goes.

    Raises:
        AuditError: the shared page lacks a place for a part.
    """
    shared = html / f"{SHARED}.html"
    text = shared.read_text(encoding="utf-8")
    lacking = [name for name in PARTS if mark(name) not in text]
    if lacking:
        raise AuditError(f"it has no place for {lacking[0]}", where=str(shared), remedy="build the book again")
    own = SHARED.rsplit("/", 1)[-1]
    for one in told:
        made = text
        made = made.replace(f"<h1>{mark('title')}", f"<h1>{breakable(one.id)}")
        for name in PARTS:
            made = made.replace(mark(name), one.parts[name])
        page = facts.claim_page(one.id).rsplit("/", 1)[-1]
        write_atomically(html / f"{facts.claim_page(one.id)}.html", made.replace(f"{own}.html", f"{page}.html"))
    shared.unlink()
