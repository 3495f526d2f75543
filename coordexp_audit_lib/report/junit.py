"""JUnit XML of an audit's document: what CI servers read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from coordexp_audit_lib.core.ranking import counts
from coordexp_audit_lib.report.text import placed, printable, shown

# XML 1.0 has no way to write these, not even as references.
_INVALID = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(made: Mapping[str, Any]) -> str:
    """A suite per boundary, a case per finding: held passes, violated fails, error is an error; skipped are unbound,
    latent, and what is counted with another."""
    root = ElementTree.Element("testsuites", name="coordexp-audit")
    suites: dict[str, list[Mapping[str, Any]]] = {}
    for f in made["findings"]:
        suites.setdefault(f["boundary"], []).append(f)
    for name, findings in suites.items():
        suite = ElementTree.SubElement(root, "testsuite", name=_text(name), timestamp=_text(made["created"]))
        suite.attrib.update(_counts(findings))
        _properties(suite, made)
        for f in findings:
            _case(suite, f)
    root.attrib.update(_counts(made["findings"]))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _counts(findings: list[Mapping[str, Any]]) -> dict[str, str]:
    outcomes = ["passed over" if f["status"] == "violated" and not counts(f) else f["status"] for f in findings]

    def count(*wanted: str) -> str:
        return str(sum(o in wanted for o in outcomes))

    seconds = sum(f["seconds"] for f in findings)
    return {
        "tests": str(len(findings)),
        "failures": count("violated"),
        "errors": count("error"),
        "skipped": count("unbound", "passed over"),
        "time": f"{seconds:.3f}",
    }


def _properties(suite: ElementTree.Element, made: Mapping[str, Any]) -> None:
    listed = ElementTree.SubElement(suite, "properties")
    for key in ("kind", "name", "commit", "era"):
        value = _text(str(made["target"].get(key) or "-"))
        ElementTree.SubElement(listed, "property", name=f"target.{key}", value=value)


def _case(suite: ElementTree.Element, f: Mapping[str, Any]) -> None:
    configs = ", ".join(f["configs"]) or f["config"]
    name = f"{f['invariant']}[{configs}]" if configs else f["invariant"]
    case = ElementTree.SubElement(
        suite, "testcase", classname=_text(f["boundary"]), name=_text(name), time=f"{f['seconds']:.3f}"
    )
    if f["status"] == "violated" and not counts(f):
        why = f"counted with {f['same_as']}" if f["same_as"] else "violated only where no audited config leads"
        why = f"accepted: {f['accepted']}" if f["accepted"] else why
        ElementTree.SubElement(case, "skipped", message=_text(why))
    elif f["status"] == "violated":
        message = f"{f['severity']}: {f['violation_count']} violations in {f['checked']} cases: {f['claim']}"
        made = ElementTree.SubElement(case, "failure", type=f["severity"], message=_text(message))
        made.text = "\n\n".join(_violation(v, f["remedy"]) for v in f["violations"])
    elif f["status"] == "error":
        ElementTree.SubElement(case, "error", type="error", message=_text(f["note"])).text = _text(f["claim"])
    elif f["status"] == "unbound":
        ElementTree.SubElement(case, "skipped", message=_text(f"unbound: {f['note']}"))


def _violation(v: Mapping[str, Any], remedy: str) -> str:
    lines = [placed(v)]
    keys = ("subject", "expected", "actual", "counterexample")
    lines += [f"  {key}: {shown(v[key])}" for key in keys if v[key] not in (None, "")]
    lines += [f"  remedy: {remedy}"] if remedy else []
    return "\n".join(_text(line) for line in lines)


def _text(value: str) -> str:
    """Printable text without the characters that XML cannot hold."""
    return _INVALID.sub(lambda m: f"\\u{ord(m.group()):04x}", printable(value))
