"""SARIF 2.1.0 of an audit's document, for code-scanning tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from coordexp_audit_lib.core.evidence import digest
from coordexp_audit_lib.core.ranking import counts
from coordexp_audit_lib.report.text import printable, shown

SCHEMA_URI = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FINGERPRINT = "coordexpAudit/v1"

LEVELS = {"P0": "error", "P1": "warning", "P2": "note"}


def sarif(made: Mapping[str, Any]) -> dict[str, Any]:
    """One run: a rule per invariant, a result per violation shown, and one per finding without a violation.

    `kind` is SARIF's: `pass` for held, `fail` for violated (`informational` where no audited config leads there, or the
    finding is counted with another), `notApplicable` for unbound, `review` for error (with a
    tool notification, since a check that could not run is the tool's news, not the code's).
    """
    findings = made["findings"]
    ids = list(dict.fromkeys(f["invariant"] for f in findings))
    run = {
        "tool": {"driver": _driver(made, findings, ids)},
        "originalUriBaseIds": {"SRCROOT": {"description": {"text": "The root of the audited tree."}}},
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(findings)],
        "results": [r for f in findings for r in _results(f, ids.index(f["invariant"]))],
        "properties": {"target": _target(made), "configs": made["configs"], "summary": made["summary"]},
    }
    return {"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [run]}


def _target(made: Mapping[str, Any]) -> dict[str, Any]:
    return {k: made["target"].get(k) for k in ("kind", "name", "commit", "dirty", "era")}


def _driver(made: Mapping[str, Any], findings: list[dict[str, Any]], ids: list[str]) -> dict[str, Any]:
    first = {f["invariant"]: f for f in reversed(findings)}
    return {
        "name": "coordexp-audit",
        "semanticVersion": made["tool"]["version"],
        "rules": [_rule(first[i]) for i in ids],
    }


def _rule(f: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": f["invariant"],
        "name": "".join(word.title() for word in f["invariant"].replace(".", "_").split("_")),
        "shortDescription": {"text": printable(f["claim"])},
        "fullDescription": {"text": printable(f"{f['claim']} (boundary {f['boundary']}; source: {f['spec']})")},
        "help": {"text": printable(f["remedy"]) or "no remedy is known"},
        "defaultConfiguration": {"level": LEVELS[f["severity"]]},
        "properties": {
            "boundary": f["boundary"],
            "severity": f["severity"],
            "authority": f["authority"],
            "kind": f["kind"],
            "tags": [f["boundary"]],
        },
    }


def _invocation(findings: list[dict[str, Any]]) -> dict[str, Any]:
    notes = [
        {
            "level": "error",
            "descriptor": {"id": "check-could-not-run"},
            "associatedRule": {"id": f["invariant"]},
            "message": {"text": printable(f["note"]) or "the check could not run"},
        }
        for f in findings
        if f["status"] == "error"
    ]
    return {"executionSuccessful": not notes, "toolExecutionNotifications": notes}


def _results(f: Mapping[str, Any], rule: int) -> list[dict[str, Any]]:
    base = {"ruleId": f["invariant"], "ruleIndex": rule}
    about = {"status": f["status"], "checked": f["checked"], "config": f["config"], "configs": f["configs"]}
    if f["status"] == "violated":
        return [_violation(base, about, f, v) for v in f["violations"]]
    kind, text = _verdict(f)
    print_ = _fingerprint(f["invariant"], f["config"], f["status"])
    return [{**base, "kind": kind, "level": "none", "message": {"text": text}, **print_, "properties": about}]


def _verdict(f: Mapping[str, Any]) -> tuple[str, str]:
    """SARIF's kind and a sentence for a finding that is not violated."""
    if f["status"] == "held":
        return "pass", f"held over {f['checked']} cases"
    if f["status"] == "unbound":
        return "notApplicable", printable(f"unbound: {f['note']}")
    return "review", printable(f"the check could not run: {f['note']}")


def _violation(
    base: dict[str, Any], about: dict[str, Any], f: Mapping[str, Any], v: Mapping[str, Any]
) -> dict[str, Any]:
    parts = [v["message"]]
    parts += [f"{key}: {shown(v[key])}" for key in ("subject", "expected", "actual") if v[key] not in (None, "")]
    parts += [f"remedy: {f['remedy']}"] if f["remedy"] else []
    made = {
        **base,
        "kind": "fail" if counts(f) and v["reach"] != "none" else "informational",
        "level": LEVELS[v["severity"] or f["severity"]] if counts(f) and v["reach"] != "none" else "none",
        "message": {"text": "\n".join(printable(p) for p in parts)},
        **_fingerprint(f["invariant"], f["config"], v["subject"], v["message"]),
        "properties": {
            **about,
            **{
                k: v[k] for k in ("counterexample", "severity", "authority", "reach", "reach_by", "reached_in", "found")
            },
            "violations": f["violation_count"],
            "sameAs": f["same_as"],
        },
    }
    if f["accepted"]:
        made["suppressions"] = [{"kind": "external", "status": "accepted", "justification": printable(f["accepted"])}]
    if v["others"]:
        made["relatedLocations"] = [{"id": n, **_location(p["where"])} for n, p in enumerate(v["others"], 1)]
    if v["where"]:
        made["locations"] = [_location(v["where"])]
    return made


def _fingerprint(*parts: Any) -> dict[str, Any]:
    """Line numbers stay out of it: a violation is the same one after the code above it has grown."""
    return {"partialFingerprints": {FINGERPRINT: digest(list(parts))}}


def _location(where: Mapping[str, Any]) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": quote(where["path"], safe="/"), "uriBaseId": "SRCROOT"}}
    if where["line"] > 0:
        place["region"] = {"startLine": where["line"]}
    made: dict[str, Any] = {"physicalLocation": place}
    if where["symbol"]:
        made["logicalLocations"] = [{"fullyQualifiedName": printable(where["symbol"])}]
    return made
