"""`check`: judge a target's claims without notebooks; and `baseline`, which keeps what of them somebody accepted."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from coordexp_audit_lib.cli import catalogue, series
from coordexp_audit_lib.cli.opening import cluster_of, described, named_in, opened, planned
from coordexp_audit_lib.cli.reporting import FAIL_ON, HELD, Bar, exit_status, report
from coordexp_audit_lib.cli.settings import take_settings
from coordexp_audit_lib.cli.streams import say
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.target import Target
from coordexp_audit_lib.report import baseline


class Checked(NamedTuple):
    """An audit's document, the findings behind it, and whether what is held is enough."""

    document: dict[str, Any]
    findings: list[Finding]
    partial: bool


def declare_acceptance(parser: argparse.ArgumentParser) -> None:
    """The options by which a project says for itself what is judged and accepted."""
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="accepted violations, with their reasons")
    parser.add_argument(
        "--isolated", action="store_true", help="leave [tool.coordexp-audit] of the target's pyproject.toml unread"
    )


def declare(add: Callable[..., Any], shared: argparse.ArgumentParser) -> None:
    """Declare `baseline new`."""
    parser = add("baseline", None, "keep which violations are accepted, each with a reason and a date")
    new = parser.add_subparsers(required=True, metavar="COMMAND").add_parser(
        "new", parents=[shared], help=_new.__doc__, description=_new.__doc__
    )
    new.add_argument("file", type=Path, metavar="FILE", help="the baseline; what it holds already stays as it is")
    new.add_argument("claim", nargs="*", metavar="ID", help="of these claims only (of all that are violated)")
    new.add_argument("--audit", type=Path, required=True, help="what `check --out` or `run --out` wrote")
    new.add_argument("--reason", required=True, help="why they are accepted")
    new.add_argument("--date", type=_day, default=None, help="when they were accepted (today)")
    new.set_defaults(command=_new)


def check(arguments: argparse.Namespace) -> int:
    """Judge, write the documents where `--out` says, and report."""
    from coordexp_audit_lib.core.folder import usable
    from coordexp_audit_lib.report.document import refuse_foreign, write_documents

    def written(arguments: argparse.Namespace) -> Checked:
        if arguments.out:
            with usable(arguments.out):
                refuse_foreign(arguments.out)
        made = judged(arguments)
        if arguments.out:
            write_documents(arguments.out, made.document)
        return made

    def told(arguments: argparse.Namespace) -> tuple[dict[str, Any], int]:
        made = written(arguments)
        return made.document, exit_status(made.findings, arguments.fail_on or FAIL_ON, made.partial)

    if arguments.commit:
        return series.over_commits(arguments, told)
    made = written(arguments)
    return report(arguments, made.document, made.findings, partial=made.partial)


def judged(arguments: argparse.Namespace) -> Checked:
    """Judge what the options name.

    Raises:
        UsageError: they name nothing that can be audited.
    """
    from coordexp_audit_lib.core.judge import audit
    from coordexp_audit_lib.report.document import document
    from coordexp_audit_lib.run.parallel import side_by_side

    taken = take_settings(arguments)
    accepted = baseline.read_baseline(arguments.baseline) if arguments.baseline else []
    told = opened(arguments)
    target, configs, names = told
    with target:
        configs = named_in(target, configs, arguments.quiet)
        checks = catalogue.chosen(planned(told)[0], arguments.select, arguments.ignore)
        bar = Bar(sum(max(1, len(configs)) if c.per_config else 1 for c in checks), "check", arguments.quiet)
        judges = side_by_side(arguments.jobs, cluster_of(arguments, told))
        found = audit(target, checks, configs, arguments.seed, lambda inv, config: bar(inv.id), judges=judges)
        bar.close()
        found = accept(found, accepted, arguments)
        made = document(described(target, names, taken), target.bindings(), configs, found)
    return Checked(made, found, in_part(target, found))


def accept(
    found: Sequence[Finding], accepted: Sequence[baseline.Accepted], arguments: argparse.Namespace
) -> list[Finding]:
    """The findings with what the baseline accepts marked so; entries that match nothing are told on stderr."""
    told, stale = baseline.accept(found, accepted)
    for entry in stale:
        what = f"{arguments.baseline}: {entry.claim} is not violated so any more: {entry.kind}"
        print(f"coordexp-audit: {what}. Remedy: remove that entry", file=sys.stderr)
    return told


def in_part(target: Target, findings: Sequence[Finding]) -> bool:
    """Whether what is held is enough: of an adapter's pipeline, which answers what it can."""
    return target.declaration() is not None and any(f.status == "held" for f in findings)


def _day(word: str) -> date:
    try:
        return date.fromisoformat(word)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{word!r} is no day such as 2026-11-27") from error


def _new(arguments: argparse.Namespace) -> int:
    """accept the violations of an audit: write an entry for each kind of them, with a reason and a date"""
    from coordexp_audit_lib.report.document import read_audit

    if not arguments.reason.strip():
        raise UsageError("it is empty", where="--reason", remedy="say why these violations are accepted")
    made = read_audit(arguments.audit)
    kept = baseline.read_baseline(arguments.file) if arguments.file.exists() else []
    on = arguments.date or datetime.now(UTC).date()
    new = baseline.entries(made, arguments.reason, on, arguments.claim)
    added = baseline.write_baseline(arguments.file, kept, new)
    told = {"baseline": str(arguments.file), "added": added, "kept": len(kept)}
    say(json.dumps(told, sort_keys=True) if arguments.json else f"{arguments.file}: {added} added, {len(kept)} kept")
    return HELD
