"""GitHub's annotations of an audit's document: one line a finding, which the checks page shows at the place to mend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from coordexp_audit_lib.core.ranking import counts
from coordexp_audit_lib.report.text import printable

COMMANDS = {"P0": "error", "P1": "warning", "P2": "notice"}


def commands(made: Mapping[str, Any], root: str = "") -> Iterator[str]:
    """A workflow command for each finding that counts, and for each that could not be judged.

    Args:
        root: the audited folder, relative to the repository's; GitHub names files from there.
    """
    for f in made["findings"]:
        if f["status"] == "error":
            yield _command("warning", f["invariant"], f"could not be judged: {f['note']}")
        if not counts(f):
            continue
        v = f["violations"][0]
        text = f"{v['message']}\nremedy: {v['remedy'] or f['remedy']}"
        more = f["violation_count"] - 1
        text += f"\nand {more} more" if more else ""
        yield _command(COMMANDS[f["severity"]], f["invariant"], text, v["where"], root)


def _command(name: str, title: str, text: str, where: Mapping[str, Any] | None = None, root: str = "") -> str:
    place = {"file": str(PurePosixPath(root) / where["path"]), "line": str(where["line"] or 1)} if where else {}
    told = ",".join(f"{key}={_property(value)}" for key, value in {**place, "title": title}.items())
    return f"::{name} {told}::{_data(printable(text))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(printable(text)).replace(":", "%3A").replace(",", "%2C")
