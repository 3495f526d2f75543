"""`coordexp-audit diff`: what changed between two audits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import msgspec

from coordexp_audit_lib.core.evidence import canonical_json
from coordexp_audit_lib.core.pipeline import role_of
from coordexp_audit_lib.report.tables import table

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "coordexp-audit-diff/2"
RANK = {"held": 0, "accepted": 1, "latent": 1, "unbound": 2, "error": 3, "violated": 4}


class Change(msgspec.Struct, frozen=True):
    """One finding that differs. kind: `worse`, `better`, `gone`, `new` or `other` (same status, other content)."""

    invariant: str
    config: str | None
    severity: str
    kind: str
    before: str
    after: str
    what: str


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Changes from one `audit.json` document to another, worst first; times and evidence digests do not count. What is
    of a renamed config (`renamed`) is told under its later name."""
    old, new = _by_key(before, renamed(before, after)), _by_key(after, {})
    changes = []
    for key in sorted(old.keys() | new.keys(), key=str):
        change = _change(key[1], old.get(key), new.get(key))
        if change:
            changes.append(change)
    order = ("worse", "new", "gone", "other", "better")
    return sorted(changes, key=lambda c: (order.index(c.kind), c.severity, c.invariant, c.config or ""))


def is_worse(changes: list[Change]) -> bool:
    """Whether something that was decided well is not any more, or a new finding did not hold."""
    return any(c.kind == "worse" or (c.kind == "new" and c.after != "held") for c in changes)


def renamed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, str]:
    """The configs of one document that stand in the other under another name, with that name: those that a pipeline
    anchors its runs to by their role, then those of the same file name, and else the one config of each document."""
    pair = before["configs"], after["configs"]
    gone, come = ([c for c in mine if c not in other] for mine, other in (pair, pair[::-1]))
    same: dict[str, str] = {}
    for told in (
        role_of,
        lambda c: PurePosixPath(c).name,
        lambda c: "the one" if len(pair[0]) == len(pair[1]) == 1 else "",
    ):
        for old in (c for c in gone if c not in same and told(c)):
            alike = [c for c in come if c not in same.values() and told(c) == told(old)]
            if len(alike) == 1 and [told(c) for c in gone].count(told(old)) == 1:
                same[old] = alike[0]
    return same


def _by_key(document: Mapping[str, Any], names: Mapping[str, str]) -> dict[tuple[str, str | None], Mapping[str, Any]]:
    found = ((f, c) for f in document["findings"] for c in f["configs"] or [f["config"]])
    return {(f["invariant"], names.get(c, c)): f for f, c in found}


def _change(config: str | None, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Change | None:
    shown = new or old
    if shown is None:
        return None
    made = (shown["invariant"], config, shown["severity"])
    if old is None:
        return Change(*made, "new", "-", _status(shown), _summary(shown))
    if new is None:
        return Change(*made, "gone", _status(shown), "-", _summary(shown))
    kind, what = _differs(old, new)
    return Change(*made, kind, _status(old), _status(new), what) if kind else None


def _status(finding: Mapping[str, Any]) -> str:
    """A finding's status; `latent` where it is violated and no audited config leads there, and `accepted`."""
    if finding["status"] == "violated" and finding.get("accepted"):
        return "accepted"
    return "latent" if finding["status"] == "violated" and finding["reach"] == "none" else str(finding["status"])


def _differs(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, str]:
    """Kind and text of the difference between two findings of one check; empty if there is none that counts."""
    before, after = RANK[_status(old)], RANK[_status(new)]
    more = new["violation_count"] - old["violation_count"]
    if before != after:
        return "worse" if after > before else "better", _summary(new)
    if more:
        what = f"{old['violation_count']} violations became {new['violation_count']}: {_summary(new)}"
        return "worse" if more > 0 else "better", what
    if new["checked"] != old["checked"]:
        return "other", f"{old['checked']} cases judged became {new['checked']}"
    if canonical_json(new["violations"]) != canonical_json(old["violations"]):
        return "other", f"other examples: {_summary(new)}"
    return "", ""


def _summary(finding: Mapping[str, Any]) -> str:
    if finding["violations"]:
        return str(finding["violations"][0]["message"])
    return str(finding["note"] or finding["claim"])


def changes_table(before: Mapping[str, Any], after: Mapping[str, Any]) -> pd.DataFrame:
    """What changed from one document to another, as people read it."""
    changes = compare(before, after)
    rows = [(c.kind, c.severity, c.invariant, c.config, f"{c.before} → {c.after}", c.what) for c in changes]
    header = ("change", "severity", "invariant", "config", "status", "what")
    told = "; ".join(f"config renamed: {old} → {new}" for old, new in renamed(before, after).items())
    return table(header, rows, told)
