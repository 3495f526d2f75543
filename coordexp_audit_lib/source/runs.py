"""What ran while a question was answered, and spectrum-based localisation over runs that failed and runs that passed.

The score is Ochiai's (Abreu, Zoeteweij, van Gemund, 2007): the more of the failing runs came by a statement and the
fewer of the passing ones, the higher. It is 1 for a statement that all failing runs and no passing one came by.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from coordexp_audit_lib.core.evidence import Where
from coordexp_audit_lib.source.statements import Line, Statement, Statements

MOST = 40  # statements with the best score; more say nothing of where it is
CLEAR = 8  # in one function: they say it by themselves


class Run(msgspec.Struct, frozen=True):
    """What `kit.lines` told of one answer. Lines are in the order in which they were first run."""

    lines: list[tuple[str, int]]
    raised: list[tuple[str, int, str]] = []
    holds: list[tuple[str, int, str, int]] = []
    hot: list[tuple[str, int, int]] = []
    refused: bool = False


class Ranked(msgspec.Struct, frozen=True, eq=False):
    """A statement with its score in 0..1 and its turn in the failing run."""

    statement: Statement
    score: float
    turn: int


def run_of(told: Mapping[str, Any]) -> Run:
    """A run from what the worker told.

    Raises:
        msgspec.ValidationError: it told something else.
    """
    return msgspec.convert(told, Run)


def covered(statements: Statements, run: Run) -> dict[Line, Statement]:
    """The statements that ran, in order."""
    found = (statements.at(path, line) for path, line in run.lines)
    return {s.key: s for s in found if s is not None}


def ranked(statements: Statements, failing: Sequence[Run], passing: Sequence[Run]) -> list[Ranked]:
    """Statements that tell failing from passing runs, the most suspicious first; of equal ones that which ran last.

    Where too many are equal, the runs went different ways: then the first of them, where they parted, is all there is.
    """
    failed, passed = ([covered(statements, r) for r in runs] for runs in (failing, passing))
    if not failed or not passed:
        return []
    found = []
    for turn, (key, statement) in enumerate(failed[0].items()):
        bad, good = (sum(key in run for run in runs) for runs in (failed, passed))
        if good < len(passed):
            found.append(Ranked(statement, bad / math.sqrt(len(failed) * (bad + good)), turn))
    found.sort(key=lambda r: (-r.score, -r.turn))
    best = [r for r in found if r.score == found[0].score]  # the last run first
    return found if len(best) <= MOST else best[-1:]


def parted(statements: Statements, failing: Run, passing: Sequence[Run]) -> Statement | None:
    """Where passing runs went on and the failing one did not: the last statement that both came by before the first of
    the few, in one function, that only passing runs came by."""
    failed, passed = covered(statements, failing), [covered(statements, r) for r in passing]
    if not passed:
        return None
    missed = [s for key, s in passed[0].items() if key not in failed and all(key in run for run in passed)]
    if not 0 < len(missed) <= CLEAR or len({(s.path, s.function) for s in missed}) > 1:
        return None
    before = list(passed[0].values())
    before = before[: before.index(missed[0])]
    here = (
        s for s in reversed(before) if s.key in failed and (s.path, s.function) == (missed[0].path, missed[0].function)
    )
    return next(here, missed[0])


def is_clear(found: Sequence[Ranked]) -> bool:
    """Whether only a few statements of one function ran in every failing run and in no passing one."""
    best = [r.statement for r in found if r.score == 1]
    return 0 < len(best) <= CLEAR and len({(s.path, s.function) for s in best}) == 1


def handed_out(statements: Statements, run: Run, function: Where) -> Statement | None:
    """The statement that made what a function returned: the `return` that ran, where there are several to choose from,
    or where its only one returns a name, the last that put something into it. None where none of its statements ran."""
    mine = [
        s for s in covered(statements, run).values() if s.path == function.path and s.where.symbol == function.symbol
    ]
    returns = [s for s in mine if isinstance(s.node, ast.Return)]
    if not returns:
        return None
    every = [s for s in statements.of(function.path) if s.where.symbol == function.symbol]
    several = sum(isinstance(s.node, ast.Return) for s in every) > 1
    value = None if several else getattr(returns[-1].node, "value", None)
    puts = [s for s in mine if isinstance(value, ast.Name) and value.id in _put_into(s.node)]
    return puts[-1] if puts else returns[-1]


def _put_into(node: ast.stmt) -> set[str]:
    """The names that a statement binds, or under a key of which it stores."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    inner = (t.value if isinstance(t, ast.Subscript) else t for t in targets)
    return {t.id for t in inner if isinstance(t, ast.Name)}


def raised_only(statements: Statements, failing: Run, passing: Sequence[Run]) -> list[Statement]:
    """The statements under an exception in the failing run and in no passing one, the last first; nothing where one
    question raised at several places, and which of them the violation is about is not known."""
    if not passing and len({place[:2] for place in failing.raised}) > 1:
        return []
    known = {place[:2] for run in passing for place in run.raised}
    places = [(path, line) for path, line, _ in failing.raised if (path, line) not in known]
    found = (statements.at(path, line) for path, line in reversed(places))
    return [s for s in found if s is not None]
