"""`--commit`: the same audit of many commits of a repository, each in a tree of its own."""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from coordexp_audit_lib.cli.opening import AT_COMMIT
from coordexp_audit_lib.cli.reporting import UNDECIDED, UNUSABLE, VIOLATED
from coordexp_audit_lib.cli.streams import say
from coordexp_audit_lib.core.errors import AuditError, UsageError
from coordexp_audit_lib.kit.spread import spread

SCHEMA = "coordexp-audit-series/1"
SHORT = 12  # digits of a commit that name its folder
AT_A_TIME = 8  # commits whose shares a cluster is given at once
Audit = Callable[[argparse.Namespace], tuple[dict[str, Any], int]]


class Done(NamedTuple):
    """What became of one commit: its document and exit status, or why it could not be audited."""

    commit: str
    document: dict[str, Any] | None
    status: int
    why: str = ""


def declare(parser: argparse.ArgumentParser) -> None:
    """The option that names commits."""
    how = "audit these commits, tags or ranges (A..B) of the target's repository, each in a tree of its own"
    parser.add_argument("--commit", nargs="+", action="extend", metavar="REVISION", help=how)


def over_commits(arguments: argparse.Namespace, audit: Audit) -> int:
    """Audit each commit, into a folder of its own below `--out`, and report what changed from one to the next.

    Args:
        audit: what is done with one: its document and exit status.

    Raises:
        UsageError: the target is no repository, or one of the commits is none of it.
    """
    from coordexp_audit_lib.run.trees import commits_of

    repository = Path(arguments.target).expanduser()
    if not arguments.target or not repository.is_dir() or arguments.adapter or arguments.pipeline:
        raise UsageError("--commit needs a checkout", where=arguments.target, remedy="give its folder as --target")
    commits = commits_of(repository, arguments.commit)

    def one(commit: str) -> Done:
        return _audited(arguments, repository.resolve(), commit, audit)

    done: dict[int, Done] = {}
    for number, result in spread(one, commits, AT_A_TIME if arguments.scheduler else 1):
        done[number] = result
        if result.why:
            print(f"coordexp-audit: {result.commit[:SHORT]}: {result.why}", file=sys.stderr)
    return _told(arguments, [done[n] for n in range(len(commits))])


def _audited(arguments: argparse.Namespace, repository: Path, commit: str, audit: Audit) -> Done:
    from coordexp_audit_lib.run.trees import tree_at

    try:
        with tree_at(repository, commit) as tree:
            own = copy.copy(arguments)
            own.target, own.commit = str(tree), None
            setattr(own, AT_COMMIT, (repository, commit))
            own.out = arguments.out / commit[:SHORT] if arguments.out else None
            return Done(commit, *audit(own))
    except AuditError as error:
        return Done(commit, None, UNUSABLE, str(error))


def _told(arguments: argparse.Namespace, done: list[Done]) -> int:
    """Print the series as the options ask; the worst exit status."""
    from coordexp_audit_lib.report.compare import compare
    from coordexp_audit_lib.report.tables import text

    if arguments.json:
        audits = [{"commit": d.commit, "status": d.status, "audit": d.document, "error": d.why} for d in done]
        say(json.dumps({"schema": SCHEMA, "audits": audits}, sort_keys=True, indent=1))
    else:
        rows, before = list[tuple[str, ...]](), None
        for d in done:
            changes: list[Any] = compare(before, d.document) if before and d.document else []
            counts = [str(sum(c.kind == kind for c in changes)) for kind in ("worse", "new", "better", "gone")]
            rows.append((d.commit[:SHORT], *_counted(d), *(counts if before and d.document else ["-"] * 4)))
            before = d.document or before
        heads = ("commit", "of", "held", "violated", "P0", "P1", "P2", "unbound", "error")
        say(text((*heads, "worse", "new", "better", "gone"), rows))
    statuses = {d.status for d in done}
    return next((s for s in (VIOLATED, UNUSABLE, UNDECIDED) if s in statuses), 0)


def _counted(done: Done) -> tuple[str, ...]:
    if done.document is None:
        return ("-", *["not audited"], *["-"] * 6)
    summary, target = done.document["summary"], done.document["target"]
    severities = (summary["by_severity"].get(s, 0) for s in ("P0", "P1", "P2"))
    counts = (summary["held"], summary["violated"], *severities, summary["unbound"], summary["error"])
    return (target["date"][:10], *map(str, counts))
