"""The commands that audit what a run left behind, or what it stands on: data, batch, metrics, manifest, upstream."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from tqdm import tqdm

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.boundaries.geometry.predicates.grounding import FORMS, LIMITS
from coordexp_audit_lib.boundaries.geometry.predicates.records import Ordering
from coordexp_audit_lib.cli.streams import say
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import judge_all
from coordexp_audit_lib.core.target import TargetInfo
from coordexp_audit_lib.report.tables import Table

Report = Callable[[argparse.Namespace, dict[str, Any], Sequence[Finding], bool], int]
Add = Callable[..., argparse.ArgumentParser]
_BOUNDARY = {
    "data": "geometry",
    "batch": "packing",
    "metrics": "metrics",
    "manifest": "provenance",
    "upstream": "upstream",
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
            boundaries.load([_BOUNDARY[name]])
            audited = function(arguments)
            return report(arguments, _document(audited), audited.findings, audited.partial)

        return add(name, run, help, judged)

    data = command("data", _data, "stream-audit cooked datasets of any size")
    data.add_argument("file", nargs="+", type=Path, help="JSON lines, a JSON array or COCO; .gz, .xz, .bz2, .zst")
    data.add_argument("--form", choices=FORMS, default="", help="of the records; by default as the first one shows")
    data.add_argument("--frame", choices=("real", *LIMITS), default="", help="of boxes that do not say theirs")
    data.add_argument("--sorted", action="store_true", help="also demand that objects stand in top-left order")
    batch = command("batch", _batch, "audit one packed training batch, from any framework")
    batch.add_argument("file", nargs="+", type=Path, help="npz or safetensors, or a folder of them")
    batch.add_argument("--packing-length", type=int, help="the pack's capacity, if it is to be judged")
    batch.add_argument(
        "--profile",
        metavar="NAME|FOLDER|config.json",
        help="the model's family: qwen2_vl, qwen2_5_vl, qwen3_vl, text, a tokenizer's or model's folder, or a "
        "config.json; then single values, as in qwen3_vl,label_shift=1; by default what the batch shows",
    )
    batch.add_argument(
        "--labels",
        choices=("shifted", "unshifted"),
        help="how labels stand to the tokens; by default as the tokens show it, which is said",
    )
    metrics = command("metrics", _metrics, "audit a run's metrics")
    metrics.add_argument(
        "path", type=Path, help="logging.jsonl, trainer_state.json, an event file, or a folder of them"
    )
    manifest = command("manifest", _manifest, "audit a run's provenance, or compare two runs")
    manifest.add_argument("run", type=Path, help="a run's folder")
    manifest.add_argument("--against", type=Path, help="the folder of an earlier run to compare with")
    upstream = command("upstream", _upstream, "which upstream releases keep the contracts")
    upstream.add_argument("release", nargs="*", help="WHEEL, DIR or PACKAGE==VERSION; the packaged verdicts by default")
    upstream.add_argument("--cache", type=Path, help="where PACKAGE==VERSION is downloaded to")


def _document(audited: Audited) -> dict[str, Any]:
    from coordexp_audit_lib.report.document import document

    names = list(dict.fromkeys(f.config for f in audited.findings if f.config))
    return document(TargetInfo(kind="artifact", name=audited.name, note=audited.note), {}, names, audited.findings)


def _data(arguments: argparse.Namespace) -> Audited:
    from coordexp_audit_lib.boundaries.geometry.artifact import audit_data

    total = sum(p.stat().st_size for p in arguments.file if p.is_file())
    order: Ordering = "sorted" if arguments.sorted else "random"
    found: list[Finding] = []
    with tqdm(total=total, unit="B", unit_scale=True, desc="data", file=sys.stderr, disable=None, leave=False) as bar:
        for path in arguments.file:
            found += audit_data(path, order, bar.update, form=arguments.form, frame=arguments.frame)
    return Audited(", ".join(p.name for p in arguments.file), found, _read_as(found))


def _batch(arguments: argparse.Namespace) -> Audited:
    from coordexp_audit_lib.boundaries.packing import artifact
    from coordexp_audit_lib.kit.profile import named

    try:
        profile = named(arguments.profile) if arguments.profile else None
    except ValueError as error:
        raise UsageError(str(error), where="--profile") from error
    shift = {"shifted": 1, "unshifted": 0}.get(arguments.labels)
    found: list[Finding] = []
    notes = []
    files = [f for path in arguments.file for f in _batches_in(path)]
    for path in files:
        made = artifact.of_tensors(artifact.read(path), arguments.packing_length, path.name, profile, shift)
        if len(files) > 1:
            made = msgspec.structs.replace(made, config=path.name)
        told = "; ".join(f"{e.symbol}: {e.value}" for e in made.evidence() if e.symbol not in artifact.TENSORS)
        notes += [f"{path.name}: {told}" if len(files) > 1 else told] if told else []
        found += judge_all(made, "packing")
    return Audited(", ".join(p.name for p in files), found, " | ".join(notes), partial=True)


def _batches_in(path: Path) -> list[Path]:
    """The file, or those in the folder that may hold a batch."""
    if not path.is_dir():
        return [path]
    found = sorted(p for p in path.iterdir() if p.suffix in (".npz", ".safetensors") and p.is_file())
    if not found:
        raise UsageError("holds no .npz and no .safetensors", where=str(path), remedy="name a file")
    return found


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
        say(Table(("can change", "field", "before", "after"), rows or [("-", "no difference", "-", "-")]).text())
        say("")
    return Audited(f"{arguments.against.name} and {arguments.run.name}", audit_pair(pair))


def _upstream(arguments: argparse.Namespace) -> Audited:
    from coordexp_audit_lib.boundaries.upstream.artifact import matrix, tables

    made = matrix.read_matrix(arguments.release, arguments.cache)
    if not arguments.json:
        for header, lines in tables.rows(made).values():
            say(Table(header, lines).text())
            say("")
        say(Table(("releases", "surface", "symbol", "verdict", "what"), tables.details(made)).text())
        say("")
    return Audited(", ".join(arguments.release) or "the packaged verdicts", matrix.audit(made))
