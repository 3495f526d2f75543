"""Judging a batch row by row: what a predicate says of one row, of each row of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps

from msgspec.structs import replace

from coordexp_audit_lib.boundaries.packing.artifact import PackedRow
from coordexp_audit_lib.boundaries.packing.artifact.rows import Part, joined
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem, Undecided

Predicate = Callable[[PackedRow, Ledger], Iterator[Problem]]


def by_row(predicate: Predicate) -> Predicate:
    """The predicate on each row without the pads before its tokens; of several rows a problem names its row."""

    @wraps(predicate)
    def judge(row: PackedRow, ledger: Ledger) -> Iterator[Problem]:
        undecided: list[Undecided] = []
        for part in row.parts:
            try:
                for problem in predicate(part.row, ledger):
                    yield placed(problem, part)
            except Undecided as error:
                undecided.append(error)
        if undecided:
            raise undecided[0]

    return judge


def over_all_rows(predicate: Predicate) -> Predicate:
    """The predicate on the tokens of all rows one after the other; a problem's token is told within its row."""

    @wraps(predicate)
    def judge(row: PackedRow, ledger: Ledger) -> Iterator[Problem]:
        ids = row.get("input_ids")
        if row.rows == 1 or ids is None:
            yield from predicate(row, ledger)
            return
        for problem in predicate(joined(row), ledger):
            if problem.token is None:
                yield problem
                continue
            number, token = divmod(min(problem.token, ids.size - 1), ids.shape[1])
            yield placed(replace(problem, token=token), Part(number, 0, row))

    return judge


def placed(problem: Problem, part: Part) -> Problem:
    """A problem of a part of a batch as one of the batch."""
    token = None if problem.token is None else part.token(problem.token)
    if part.number is None:
        return problem if token == problem.token else replace(problem, token=token)
    place = f"row {part.number}" if token is None else f"row {part.number}, token {token}"
    return replace(problem, message=f"{problem.message} ({place})", token=token, subject=problem.subject or place)
