"""The audit's document: one versioned JSON text, from which every other report is rendered."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib import __version__
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.finding import Authority, Finding, Like, Reach, Severity, Status, tidy
from coordexp_audit_lib.core.folder import write_together
from coordexp_audit_lib.core.ranking import counted, ranked
from coordexp_audit_lib.core.reading import content
from coordexp_audit_lib.core.target import Binding, TargetInfo

SCHEMA = "coordexp-audit/2"
AUDIT = "audit.json"
SARIF = "audit.sarif"
JUNIT = "junit.xml"
DOCUMENTS = (SARIF, JUNIT, AUDIT)
NAME = b"coordexp-audit"  # stands in each of them
MOST = 256 << 20  # bytes of a document that are read

# What the verdicts can depend on; the whole environment would be noise.
PACKAGES = ("dashscope", "msgspec", "numpy", "safetensors", "tiktoken", "torch", "transformers")


class _Summary(msgspec.Struct):
    """Counts of findings."""

    held: int
    violated: int
    unbound: int
    error: int
    advice: int
    latent: int
    same: int
    by_severity: dict[Severity, dict[Status, int]]
    accepted: int = 0


class _Told(Finding, frozen=True):
    """A finding as it stands in a document, where every key is written out."""

    authority: Authority
    reach: Reach | None
    reach_by: str
    kinds: tuple[Like, ...]
    configs: tuple[str, ...]
    also: tuple[str, ...]
    same_as: str


class _Document(msgspec.Struct):
    """What a document holds; readers of it rely on no more."""

    schema: str
    created: str
    tool: dict[str, Any]
    target: TargetInfo
    configs: list[str]
    boundaries: list[str]
    summary: _Summary
    findings: list[_Told]


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `audit.json`, as `resources/audit.schema.json` publishes it."""
    made = msgspec.json.schema(_Document)
    spelt = json.dumps(made).replace("#/$defs/_", "#/$defs/")
    made = json.loads(spelt)
    made["$defs"] = {name.lstrip("_"): part | {"title": name.lstrip("_")} for name, part in made["$defs"].items()}
    made["$defs"]["Document"]["properties"]["schema"] = {"const": SCHEMA}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": SCHEMA, **made}


def document(
    target: TargetInfo,
    bindings: Mapping[str, Binding],
    configs: Sequence[str],
    findings: Sequence[Finding],
    created: str = "",
) -> dict[str, Any]:
    """The document of one audit, in builtins.

    Args:
        target: who was audited. bindings: how it answers each surface, by the surface's name.
        configs: the configs under audit. findings: of every claim and config, in any order: here they are joined and
        ranked (`core.ranking`).
        created: an ISO 8601 time, now by default. It, `tool` and `seconds` are all that differs from run to run.
    """
    told = ranked(findings)
    surfaces = {name: _binding(b) for name, b in sorted(bindings.items())}
    return {
        "schema": SCHEMA,
        "created": created or datetime.now(UTC).isoformat(timespec="seconds"),
        "tool": tool(),
        "target": tidy({**msgspec.to_builtins(target), "surfaces": surfaces}),
        "configs": tidy(list(configs)),
        "boundaries": list(dict.fromkeys(f.boundary for f in findings)),
        "summary": counted(told),
        "findings": [tidy(msgspec.to_builtins(f)) for f in told],
    }


def _binding(b: Binding) -> dict[str, Any]:
    """A binding without the surface's name, which is its key."""
    return {k: v for k, v in msgspec.to_builtins(b).items() if k != "surface"}


def tool() -> dict[str, Any]:
    """This library's version, the interpreter's, and those of the packages that verdicts depend on."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "absent"
    return {"version": __version__, "python": platform.python_version(), "packages": versions}


def dumps(made: Mapping[str, Any]) -> str:
    """The JSON text: keys sorted, ASCII (so that no control or bidi character reaches a terminal), no NaN."""
    return json.dumps(made, sort_keys=True, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def write_documents(out: Path, made: Mapping[str, Any]) -> list[Path]:
    """Write `audit.sarif`, `junit.xml` and `audit.json` into `out`, all of them whole or none.

    Raises:
        UsageError: they can't be written, or what is there under these names is not ours.
    """
    from coordexp_audit_lib.report.junit import junit
    from coordexp_audit_lib.report.sarif import sarif

    refuse_foreign(out)
    # audit.json is last: who sees it may rely on the other two
    return write_together({out / SARIF: dumps(sarif(made)), out / JUNIT: junit(made), out / AUDIT: dumps(made)})


def refuse_foreign(out: Path) -> None:
    """Refuse a folder in which a file of another program has the name of one of the documents.

    Raises:
        UsageError: it has.
    """
    for name in DOCUMENTS:
        path = out / name
        try:
            ours = not path.is_symlink() and (not path.exists() or NAME in content(path, MOST))
        except OSError:
            ours = False
        if not ours:
            remedy = "move it away, or give another folder"
            raise UsageError("it is there already and is no document of ours", where=str(path), remedy=remedy)


def read_audit(path: Path) -> dict[str, Any]:
    """Read a document, or the `audit.json` of a run's folder.

    Raises:
        UsageError: there is none, or it is not of this schema.
    """
    file = path / AUDIT if path.is_dir() else path
    remedy = "give the folder that `coordexp-audit run` or `check` wrote with --out"
    try:
        made = json.loads(content(file, MOST))
    except FileNotFoundError as error:
        raise UsageError("there is no such file", where=str(file), remedy=remedy) from error
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise UsageError(f"not an audit document: {error}", where=str(file), remedy=remedy) from error
    if not isinstance(made, dict) or made.get("schema") != SCHEMA:
        found = made.get("schema") if isinstance(made, dict) else type(made).__name__
        raise UsageError(f"its schema is {found!r}, not {SCHEMA!r}", where=str(file), remedy=remedy)
    try:
        made["findings"] = json.loads(msgspec.json.encode(msgspec.convert(made, type=_Document).findings))
    except (msgspec.ValidationError, RecursionError) as error:
        what = f"it is no document that this version wrote: {error}"
        raise UsageError(what, where=str(file), remedy="run the audit again") from error
    return made


__all__ = ["AUDIT", "JUNIT", "SARIF", "SCHEMA", "document", "dumps", "read_audit", "tool", "write_documents"]
