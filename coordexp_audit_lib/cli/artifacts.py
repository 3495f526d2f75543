"""The commands that audit what a run left behind, or what it stands on: data, batch, rollout, metrics, manifest,
upstream."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.cli import batches, data, rollouts
from coordexp_audit_lib.cli.streams import say
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.target import TargetInfo
from coordexp_audit_lib.report.tables import text

Report = Callable[[argparse.Namespace, dict[str, Any], Sequence[Finding], bool], int]
Add = Callable[..., argparse.ArgumentParser]
_BOUNDARIES = {
    "data": ["geometry"],
    "batch": ["packing", "template"],
    "rollout": ["rollout"],
    "metrics": ["metrics"],
    "manifest": ["provenance"],
    "upstream": ["upstream"],
}


class Audited(NamedTuple):
    """What was audited, what was found, and how it was read. partial: whether a claim that such an artifact can't
    decide leaves the exit status alone."""

    name: str
    findings: list[Finding]
    note: str = ""
    partial: bool = False


def declare(add: Add, judged: argparse.ArgumentParser, report: Report) -> None:
    """Add the commands to the command line; `report` prints a document and returns the exit status."""

    def command(name: str, function: Callable[[argparse.Namespace], Audited], help: str) -> Any:
        def run(arguments: argparse.Namespace) -> int:
            boundaries.load(_BOUNDARIES[name], rooms=("claims",))
            audited = function(arguments)
            return report(arguments, _document(audited), audited.findings, audited.partial)

        return add(name, run, help, judged)

    data.declare(command("data", _data, "stream-audit datasets of any size"))
    batches.declare(command("batch", _batch, "audit one training batch, packed or padded, from any framework"))
    what = "audit training batches against the rollouts that they were made of"
    rollouts.declare(command("rollout", _rollout, what))
    metrics = command("metrics", _metrics, "audit a run's metrics")
    metrics.add_argument(
        "path", type=Path, help="a trainer's log in JSON lines, its state, an event file, known by content, or a folder"
    )
    manifest = command("manifest", _manifest, "audit a run's provenance, or compare two runs")
    manifest.add_argument("run", type=Path, help="the folder that a run of any trainer wrote to")
    manifest.add_argument("--against", type=Path, help="the folder of an earlier run to compare with")
    upstream = command("upstream", _upstream, "which upstream releases keep the contracts")
    upstream.add_argument(
        "release",
        nargs="*",
        help="WHEEL, DIR or PACKAGE==VERSION; the packaged verdicts by default; releases of several packages are also "
        "judged as installed together",
    )
    upstream.add_argument("--cache", type=Path, help="where PACKAGE==VERSION is downloaded to")


def _document(audited: Audited) -> dict[str, Any]:
    from coordexp_audit_lib.report.document import document

    names = list(dict.fromkeys(f.config for f in audited.findings if f.config))
    return document(TargetInfo(kind="artifact", name=audited.name, note=audited.note), {}, names, audited.findings)


def _data(arguments: argparse.Namespace) -> Audited:
    return Audited(*data.audited(arguments))


def _batch(arguments: argparse.Namespace) -> Audited:
    return Audited(*batches.audited(arguments), partial=True)


def _rollout(arguments: argparse.Namespace) -> Audited:
    return Audited(*rollouts.audited(arguments), partial=True)


def _metrics(arguments: argparse.Namespace) -> Audited:
    from coordexp_audit_lib.boundaries.metrics.artifact.run import audit_log

    found = audit_log(arguments.path)
    return Audited(arguments.path.name, found, _read_as(found))


def _read_as(found: Sequence[Finding]) -> str:
    """What each file was taken for, once."""
    taken = dict.fromkeys(f"{f.config}: read as {e.value}" for f in found for e in f.evidence if e.symbol == "read as")
    return "; ".join(taken)


def _manifest(arguments: argparse.Namespace) -> Audited:
    from coordexp_audit_lib.boundaries.provenance.artifact.run import RunPair, audit_pair, audit_run

    if arguments.against is None:
        found = audit_run(arguments.run)
        taken = dict.fromkeys(str(e.value) for f in found for e in f.evidence if e.symbol == "read as")
        return Audited(arguments.run.name, found, "; ".join(f"read as {t}" for t in taken))
    pair = RunPair(arguments.against, arguments.run)
    if not arguments.json:
        rows = [(d.rank, d.field, json.dumps(d.before), json.dumps(d.after)) for d in pair.differences]
        say(text(("can change", "field", "before", "after"), rows or [("-", "no difference", "-", "-")]))
        say("")
    return Audited(f"{arguments.against.name} and {arguments.run.name}", audit_pair(pair))


def _upstream(arguments: argparse.Namespace) -> Audited:
    from coordexp_audit_lib.boundaries.upstream.artifact import matrix, releases, tables

    sources = [releases.open_source(word, arguments.cache) for word in dict.fromkeys(arguments.release)]
    made = matrix.of_sources(sources)
    if not arguments.json:
        for header, lines in tables.rows(made).values():
            say(text(header, lines))
            say("")
        say(text(("releases", "surface", "symbol", "verdict", "what"), tables.details(made)))
        say("")
    return Audited(", ".join(arguments.release) or "the packaged verdicts", matrix.audit(made, sources))
