"""The commands that take a finished audit to its readers: `book`, `verify`, `export`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from coordexp_audit_lib.cli.reporting import HELD, VIOLATED
from coordexp_audit_lib.cli.streams import say
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.report.text import visible

UNCHECKED = "signed, which was not checked: give --key"
TRACKERS = ("wandb", "mlflow")


def declare(add: Callable[..., Any]) -> None:
    """Declare the commands."""
    book = add("book", _book, "build the book of a run: HTML, PDF and .tex, with a statement of all files")
    book.add_argument("run", type=Path, help="the folder of a run")
    book.add_argument("--format", nargs="+", choices=("html", "pdf"), default=["html", "pdf"], help="what to build")
    book.add_argument("--single-file", action="store_true", help="also one HTML file with everything in it, to mail")
    book.add_argument("--sign-key", type=Path, metavar="FILE", help="sign the statement with this private key (PEM)")
    verify = add("verify", _verify, "compare a run and its book with the statement of them; 1 if a file was changed")
    verify.add_argument("run", type=Path, help="the folder of a run, or a statement")
    verify.add_argument("--key", type=Path, metavar="FILE", help="the public key (PEM) that must have signed it")
    export = add("export", _export, "write an audit's summary into Weights & Biases or MLflow")
    export.add_argument("audit", type=Path, help="an audit.json, or the folder of one")
    export.add_argument("--to", required=True, choices=TRACKERS, help="the tracker")
    export.add_argument("--project", default="coordexp-audit", help="its project or experiment (coordexp-audit)")


def _export(arguments: argparse.Namespace) -> int:
    from coordexp_audit_lib.report.export import export

    name = export(arguments.audit, arguments.to, arguments.project)
    told = {"tracker": arguments.to, "project": arguments.project, "run": name}
    say(json.dumps(told, sort_keys=True) if arguments.json else f"{arguments.to}: run {name} of {arguments.project}")
    return 0


def _book(arguments: argparse.Namespace) -> int:
    from coordexp_audit_lib.report import attest, single
    from coordexp_audit_lib.report.book import build_book, epoch
    from coordexp_audit_lib.report.document import read_audit

    if arguments.single_file and "html" not in arguments.format:
        remedy = "leave out --single-file, or build html too"
        raise UsageError("it has no effect without the format html", where="--single-file", remedy=remedy)
    made = build_book(arguments.run, formats=tuple(arguments.format))
    if arguments.single_file:
        made["single"] = single.single_file(made["html"].parent, arguments.run / "book" / single.NAME)
    document = read_audit(arguments.run)
    when = datetime.fromtimestamp(epoch(document), UTC).isoformat()
    made["statement"] = attest.attest(arguments.run, document, when, arguments.sign_key)
    if arguments.json:
        say(json.dumps({name: str(path) for name, path in made.items()}, sort_keys=True, indent=1))
    else:
        for name, path in made.items():
            say(f"{name}: {path}")
    return HELD


def _verify(arguments: argparse.Namespace) -> int:
    from coordexp_audit_lib.report.attest import verify

    found = verify(arguments.run, arguments.key)
    if arguments.json:
        say(json.dumps({**found._asdict(), "holds": found.holds}, sort_keys=True, indent=1))
        return HELD if found.holds else VIOLATED
    lines = [f"changed: {visible(n)}" for n in found.changed] + [f"missing: {visible(n)}" for n in found.missing]
    lines += [f"not in the statement: {visible(n)}" for n in found.unlisted]
    for line in lines:
        say(line)
    by = "not signed" if found.signed == "" else f"signed by the key {found.signed}" if found.signed else UNCHECKED
    verdict = "as attested" if found.holds else "NOT as attested"
    say(f"{found.files} files, {verdict}; {by}")
    return HELD if found.holds else VIOLATED
