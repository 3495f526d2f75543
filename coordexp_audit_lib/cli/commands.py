"""The command line. Each command is a small function; errors are one line on stderr, with `--debug` a traceback."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from coordexp_audit_lib import __version__, boundaries
from coordexp_audit_lib.cli import adapters, catalogue, checking, completion, publishing, series, streams
from coordexp_audit_lib.cli.artifacts import declare
from coordexp_audit_lib.cli.isolation import declare as declare_isolation
from coordexp_audit_lib.cli.opening import cluster_of, declare_audit, described, named_in, opened, paged, planned
from coordexp_audit_lib.cli.reporting import (
    FAIL_ON,
    HELD,
    UNDECIDED,
    UNUSABLE,
    VIOLATED,
    Bar,
    declare_report,
    exit_status,
    refuse_idle,
    report,
)
from coordexp_audit_lib.cli.settings import take_settings
from coordexp_audit_lib.cli.streams import say
from coordexp_audit_lib.core.claim import claims
from coordexp_audit_lib.core.errors import AuditError, UsageError, one_line, unusable
from coordexp_audit_lib.core.fault import faults, spoils
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.pipeline import pipeline
from coordexp_audit_lib.core.target import LIVE

ANCHORED = pipeline().configs


class Parser(argparse.ArgumentParser):
    """A command line that does not fit is told in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(UNUSABLE, f"{self.prog}: {one_line(message)}. Remedy: see `{self.prog} --help`\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    if not streams.opened():
        return UNUSABLE
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        refuse_idle(arguments)
        command: Callable[[argparse.Namespace], int] = arguments.command
        with streams.ended_by_signals(), streams.rarely_collected():
            return command(arguments)
    except KeyboardInterrupt as ended:
        number = getattr(ended, "number", signal.SIGINT)
        return _told("interrupted; start it again to go on where it stopped", 128 + number)
    except BrokenPipeError:
        streams.discard_output()
        return UNUSABLE
    except Exception as error:
        if arguments.debug:
            raise
        if isinstance(error, OSError) and error.errno is not None:
            error = unusable(error)
        if not isinstance(error, AuditError):
            what = f"this is a bug of the audit: {type(error).__name__}: {error}"
            return _told(one_line(what, remedy="run again with --debug"), UNUSABLE)
        return _told(str(error), UNUSABLE)


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """What a command line says, for programs that use a command's function.

    Raises:
        UsageError: it does not fit.
    """
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as error:
        told = " ".join(argv)
        raise UsageError("the command line does not fit", where=told, remedy="see `coordexp-audit --help`") from error
    refuse_idle(arguments)
    return arguments


def _told(line: str, status: int) -> int:
    print(f"coordexp-audit: {line}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    shared = Parser(add_help=False)
    shared.add_argument("--json", action="store_true", help="print one JSON document on stdout and nothing else")
    shared.add_argument("--debug", action="store_true", help="show a traceback where something fails")
    audited = Parser(add_help=False)
    declare_audit(audited)
    judged = Parser(add_help=False)
    declare_report(judged)

    parser = Parser(prog="coordexp-audit", description="Audit a V-LLM grounding training pipeline.")
    parser.add_argument("--version", action="version", version=f"coordexp-audit {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function: Callable[[argparse.Namespace], int], help: str, *parents: Any) -> Any:
        made = commands.add_parser(name, help=help, description=help, parents=[shared, *parents])
        made.set_defaults(command=function)
        return made

    run = add("run", _run, "run every notebook on a target and write the audit's documents", audited, judged)
    run.add_argument("--out", type=Path, required=True, help="a new folder, or one of an interrupted run")
    run.add_argument("--replace", action="store_true", help="remove a run of other things that the folder holds")
    catalogue.declare_choice(run)
    checking.declare_acceptance(run)
    series.declare(run)
    check = add("check", checking.check, "judge the invariants without notebooks", audited, judged)
    check.add_argument("--out", type=Path, help="write audit.json, audit.sarif and junit.xml there")
    catalogue.declare_choice(check)
    checking.declare_acceptance(check)
    series.declare(check)
    record = add(
        "record",
        _record,
        "keep a target's answers as a recording; with --boundary, renew those of an earlier one",
        audited,
    )
    record.add_argument("--name", required=True, help="the recording's name")
    record.add_argument("--out", type=Path, default=Path(), help="the folder to write it to (the current one)")
    diff = add("diff", _diff, "say what changed between two audits; 1 if something got worse")
    diff.add_argument("before", type=Path, help="the earlier run's folder, or its audit.json")
    diff.add_argument("after", type=Path, help="the later one")
    declare(add, judged, report)
    declare_isolation(add)
    adapters.declare(add, shared)
    catalogue.declare(add)
    checking.declare(add, shared)
    completion.declare(add)
    publishing.declare(add)
    add("faults", _faults, "prove that every check fails on a pipeline that is broken on purpose")
    return parser


class _Ran(NamedTuple):
    """What a run wrote, the findings behind it, whether what is held is enough, and whether each page is whole."""

    document: dict[str, Any]
    findings: list[Finding]
    partial: bool
    whole: bool


def _run(arguments: argparse.Namespace) -> int:
    if arguments.commit:
        return series.over_commits(arguments, lambda one: ((ran := _ran(one)).document, _status(one, ran)))
    ran = _ran(arguments)
    report(arguments, ran.document, ran.findings, partial=ran.partial)
    return _status(arguments, ran)


def _ran(arguments: argparse.Namespace) -> _Ran:
    """Run the notebooks and write the documents."""
    from coordexp_audit_lib.report.baseline import read_baseline
    from coordexp_audit_lib.report.document import document, write_documents
    from coordexp_audit_lib.run.audit import run
    from coordexp_audit_lib.run.compared import compare_recordings

    taken = take_settings(arguments)
    accepted = read_baseline(arguments.baseline) if arguments.baseline else []
    told = paged(opened(arguments))
    target, configs, names = told
    with target:
        configs = named_in(target, configs, arguments.quiet)
        checks, judged, shown = planned(told)
        claims = {c.id for c in catalogue.chosen(checks, arguments.select, arguments.ignore)}
        asked = judged + shown if target.info().kind in LIVE else 0
        bar = Bar(len(boundaries.load(names)) * max(1, len(configs)) + asked, "run", arguments.quiet)
        ran = run(
            target,
            arguments.target,
            configs,
            arguments.out,
            seed=arguments.seed,
            names=names,
            replace=arguments.replace,
            workers=arguments.jobs,
            cluster=cluster_of(arguments, told),
            progress=bar,
        )
        bar.close()
        # A notebook judges its boundary whole; what the audit says, and with it the book, is of the chosen claims.
        found = checking.accept([f for f in ran.findings if f.invariant in claims], accepted, arguments)
        made = document(described(target, names, taken), target.bindings(), configs, found)
    write_documents(arguments.out, made)
    compare_recordings(arguments.target, arguments.out, names, arguments.seed, claims)
    for failed in ran.failed:
        print(f"coordexp-audit: {failed.job.output.name}: the notebook raised: {failed.reason}", file=sys.stderr)
    whole = not ran.failed or target.declaration() is not None  # of an adapter's some figures have nothing to show
    return _Ran(made, found, checking.in_part(target, found), whole)


def _status(arguments: argparse.Namespace, ran: _Ran) -> int:
    status = exit_status(ran.findings, arguments.fail_on or FAIL_ON, ran.partial)
    return UNDECIDED if status == HELD and not ran.whole else status


def _record(arguments: argparse.Namespace) -> int:
    from coordexp_audit_lib.core.folder import usable
    from coordexp_audit_lib.run.record import take
    from coordexp_audit_lib.targets.recording import SUFFIX, merged, read_recording, write_recording

    path = arguments.out / f"{arguments.name}{SUFFIX}"
    if Path(arguments.name).name != arguments.name or not arguments.name:
        raise UsageError("a recording's name is a plain file name", where=arguments.name, remedy="leave out folders")
    with usable(arguments.out):
        earlier = read_recording(path) if path.exists() else None  # a file of another kind is not written over
    target, configs, names = named = opened(arguments)
    with target:
        _, judged, shown = planned(named)
        bar = Bar(judged + shown, "record")
        partial = arguments.out / f".{arguments.name}.partial{SUFFIX}"
        how = {"seed": arguments.seed, "names": names, "jobs": arguments.jobs, "cluster": cluster_of(arguments, named)}
        taken = take(target, configs, **how, partial=partial, progress=bar)
        bar.close()
    recording = taken.recording
    if names is not None and earlier is not None:
        recording = merged(earlier, recording)
    size = write_recording(recording, path)
    partial.unlink(missing_ok=True)
    told = {"recording": str(path), "bytes": size, "answers": recording.count()}
    say(json.dumps(told, sort_keys=True) if arguments.json else f"{path}: {told['answers']} answers, {size} bytes")
    return HELD


def _diff(arguments: argparse.Namespace) -> int:
    import msgspec

    from coordexp_audit_lib.report.compare import SCHEMA, changes_table, compare, is_worse, renamed
    from coordexp_audit_lib.report.document import read_audit
    from coordexp_audit_lib.report.tables import plain

    before, after = read_audit(arguments.before), read_audit(arguments.after)
    changes = compare(before, after)
    if arguments.json:
        told = {"schema": SCHEMA, "changes": msgspec.to_builtins(changes), "renamed": renamed(before, after)}
        say(json.dumps(told, sort_keys=True, indent=1))
    elif changes or renamed(before, after):
        say(plain(changes_table(before, after)))
    else:
        say("no change")
    return VIOLATED if is_worse(changes) else HELD


def _faults(arguments: argparse.Namespace) -> int:
    import msgspec

    from coordexp_audit_lib.report.tables import text
    from coordexp_audit_lib.run.prove import prove, prove_artifacts, rows

    boundaries.load()
    bar = Bar(len(claims()) + len(faults()), "faults")
    proof = prove(claims(), faults(), ANCHORED[1], progress=bar)
    proof = msgspec.structs.replace(proof, artifacts=prove_artifacts(spoils()))
    bar.close()
    if arguments.json:
        say(json.dumps(msgspec.to_builtins(proof), sort_keys=True, indent=1))
    else:
        say(text(("fault", "surface or artifact", "expected", "caught", "missed"), rows(proof)))
        for name, why in proof.unsound.items():
            say(f"unsound: {name} does not hold on the unbroken reference: {why}")
        for name in proof.unproven:
            say(f"unproven: no fault is caught by {name}")
        verdict = "all proven" if proof.complete else "NOT proven"
        say(f"{len(proof.artifacts)} faults of artifacts, each of a claim that only artifacts decide")
        say(f"{len(proof.detections)} faults, {len(claims())} checks, {verdict}")
    return HELD if proof.complete else VIOLATED
