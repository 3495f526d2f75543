"""How a command tells what it found: the report, GitHub's annotations, and the exit status."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coordexp_audit_lib.cli.streams import say
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.finding import SEVERITIES, Finding

HELD, VIOLATED, UNUSABLE, UNDECIDED = 0, 1, 2, 3
FAIL_ON = "P1"  # where neither the command line nor the tree says another


def declare_report(parser: argparse.ArgumentParser) -> None:
    """The options of a command that judges."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--verbose", "-v", action="store_true", help="print every finding with all its examples")
    how.add_argument("--quiet", "-q", action="store_true", help="print only what fails, a line each")
    how.add_argument("--statistics", action="store_true", help="print how many violations there are of each claim")
    parser.add_argument(
        "--github",
        action="store_true",
        help="print GitHub's annotations too, as is done by itself in a GitHub workflow",
    )
    parser.add_argument("--fail-on", choices=(*SEVERITIES, "never"), help=f"least severity that fails ({FAIL_ON})")


def refuse_idle(arguments: argparse.Namespace) -> None:
    """Refuse options that have no effect beside others.

    Raises:
        UsageError: one has none.
    """
    for name in ("verbose", "quiet", "statistics", "github"):
        if getattr(arguments, "json", False) and getattr(arguments, name, False):
            raise UsageError(f"--{name} has no effect with --json", where="--json", remedy=f"leave out --{name}")


def exit_status(findings: Sequence[Finding], fail_on: str, partial: bool = False) -> int:
    """0 all held; 1 a violation at or above `fail_on`; 3 nothing violated but something `unbound` or `error`.

    partial: of what can't decide every claim, or not every part of one, something that was judged is enough.
    A violation below `fail_on` does not fail by itself; one that no audited config leads to, or that a baseline
    accepts, fails nothing.
    """
    worst = SEVERITIES[: SEVERITIES.index(fail_on) + 1] if fail_on != "never" else ()
    if any(f.counts and f.severity in worst for f in findings):
        return VIOLATED
    if partial:
        judged = any(f.status == "held" or f.checked for f in findings)
        return HELD if judged and not any(f.status == "error" for f in findings) else UNDECIDED
    undecided = any(f.status in ("unbound", "error") for f in findings)
    return UNDECIDED if undecided or not findings else HELD


def report(
    arguments: argparse.Namespace, document: dict[str, Any], findings: Sequence[Finding], partial: bool = False
) -> int:
    """Print the document as the options ask; the exit status."""
    from coordexp_audit_lib.report import terminal
    from coordexp_audit_lib.report.document import dumps

    fail_on = arguments.fail_on or FAIL_ON
    if arguments.json:
        say(dumps(document), end="")
    elif arguments.statistics:
        say(terminal.statistics(document))
    elif arguments.quiet:
        say(terminal.failing(document, fail_on), end="")
    else:
        say(terminal.render(document, verbose=arguments.verbose), end="")
    if arguments.github or (os.environ.get("GITHUB_ACTIONS") == "true" and not arguments.json):
        _annotate(arguments, document)
    return exit_status(findings, fail_on, partial)


def _annotate(arguments: argparse.Namespace, document: dict[str, Any]) -> None:
    from coordexp_audit_lib.report.github import commands

    target = Path(getattr(arguments, "target", "") or ".")
    root = os.path.relpath(target) if target.is_dir() else ""
    for line in commands(document, "" if root == "." else root):
        say(line)


class Bar:
    """A progress bar on stderr; nothing where stderr is not a terminal, or all shall be quiet."""

    def __init__(self, total: int, what: str, quiet: bool = False) -> None:
        from tqdm import tqdm  # most commands need none, and it costs a tenth of a second

        hidden = True if quiet else None
        self.bar = tqdm(total=total, desc=what, file=sys.stderr, mininterval=0.2, disable=hidden, leave=False)

    def __call__(self, name: str) -> None:
        self.bar.set_postfix_str(name, refresh=False)
        self.bar.update(1)

    def close(self) -> None:
        self.bar.close()
