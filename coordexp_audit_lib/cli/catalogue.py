"""`list` and `explain`: which claims there are, and what one of them demands, why, of what, and what proves it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any

from coordexp_audit_lib import boundaries
from coordexp_audit_lib.cli.streams import say
from coordexp_audit_lib.core.claim import Claim, declared
from coordexp_audit_lib.core.errors import UsageError, did_you_mean
from coordexp_audit_lib.report.claims import described


def declare(add: Callable[..., Any]) -> None:
    """Declare the two commands."""
    known = add("list", _list, "list the claims: id, greatest severity, what decides each, and the demand")
    known.add_argument("prefix", nargs="*", help="only claims whose id begins so: a boundary, or part of a name")
    told = add("explain", _explain, "say what a claim demands, what goes wrong without it, and which faults prove it")
    told.add_argument("id", help="the claim, such as packing.cu_seqlens")


def declare_choice(parser: argparse.ArgumentParser) -> None:
    """The options that choose claims by id or by the beginning of one."""
    for name, what in (("select", "judge only claims whose id begins so"), ("ignore", "leave out claims that do")):
        parser.add_argument(f"--{name}", nargs="+", action="extend", default=[], metavar="ID", help=what)


def chosen(checks: Sequence[Claim], select: Sequence[str], ignore: Sequence[str]) -> list[Claim]:
    """The claims that are selected (all, where nothing is) and not ignored.

    Raises:
        UsageError: a word is the beginning of no claim's id, or nothing is left.
    """
    for word in (*select, *ignore):
        if not any(_begins(c, word) for c in declared()):
            raise _unknown(word)
    left = [c for c in checks if not select or any(_begins(c, w) for w in select)]
    left = [c for c in left if not any(_begins(c, w) for w in ignore)]
    if not left:
        raise UsageError("no claim is left to judge", remedy="select more, or ignore less")
    return left


def _begins(claim: Claim, word: str) -> bool:
    return claim.id.startswith(word)


def _unknown(word: str) -> UsageError:
    ids = [c.id for c in declared()]
    known = [*ids, *dict.fromkeys(i.partition(".")[0] for i in ids)]
    remedy = did_you_mean(word, known, "see `coordexp-audit list`")
    return UsageError("there is no such claim", where=word, remedy=remedy)


def _list(arguments: argparse.Namespace) -> int:
    boundaries.load()
    known = declared()
    for word in arguments.prefix:
        if not any(_begins(c, word) for c in known):
            raise _unknown(word)
    known = [c for c in known if not arguments.prefix or any(_begins(c, w) for w in arguments.prefix)]
    if arguments.json:
        say(json.dumps([described(c) for c in known], sort_keys=True, indent=1))
        return 0
    width = max(len(c.id) for c in known)
    for claim in known:
        say(f"{claim.id:{width}}  {claim.severity}  {claim.claim}")
    return 0


def _explain(arguments: argparse.Namespace) -> int:
    boundaries.load()
    claim = next((c for c in declared() if c.id == arguments.id), None)
    if claim is None:
        raise _unknown(arguments.id)
    told = described(claim)
    if arguments.json:
        say(json.dumps(told, sort_keys=True, indent=1))
        return 0
    say(f"{claim.id}  (at most {claim.severity}{', for each config' if claim.per_config else ''})\n\n{claim.doc}\n")
    say(f"remedy: {claim.remedy}")
    for one in told["spec"]:
        say(f"demanded by: {one}")
    say(f"decided by: {', '.join(told['decided_by'])}")
    say(f"declared in: {told['file']}")
    for one in told["faults"]:
        say(f"proven by the fault {one['id']}: {one['summary']}")
    return 0
