"""`coordexp-audit data`: stream cooked datasets of any size through the record predicates."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from coordexp_audit_lib.boundaries.geometry.bins import Problem
from coordexp_audit_lib.boundaries.geometry.records import (
    CONTRACT,
    IN_RANGE,
    ORDERED,
    UNSORTED,
    Ordering,
    line_problems,
)
from coordexp_audit_lib.core.claim import Invariant, invariants
from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.evidence import Evidence, Where
from coordexp_audit_lib.core.finding import MAX_EXAMPLES, Finding, Violation, tidy

MAX_LINE = 64 << 20
REMEDY = "give a JSONL file, one record a line"


def audit_data(
    path: Path, ordering: Ordering = "random", progress: Callable[[int], object] | None = None
) -> list[Finding]:
    """Judge every record of a JSONL file in one pass and constant memory; `config` names the file.

    Args:
        path: the file. ordering: `sorted` also judges the objects' top-left order (`geometry.never_reordered`).
        progress: called with the number of bytes that were read.

    Raises:
        UsageError: the file is missing or is no text in lines.
    """
    started = time.perf_counter()
    decided = [CONTRACT, IN_RANGE, ORDERED, *([UNSORTED] if ordering == "sorted" else [])]
    found: dict[str, list[Violation]] = {name: [] for name in decided}
    counts = dict.fromkeys(decided, 0)
    records = 0
    for number, line in _lines(path, progress):
        records += 1
        for problem in line_problems(line, ordering):
            if problem.invariant in counts:
                counts[problem.invariant] += 1
                _keep(found[problem.invariant], _violation(problem, path, number))
    checks = {i.id: i for i in invariants("geometry")}
    seconds = round(time.perf_counter() - started, 3)
    return [_finding(checks[name], path, records, (found[name], counts[name]), seconds) for name in decided]


def _lines(path: Path, progress: Callable[[int], object] | None) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise UsageError(f"line {number} is longer than {MAX_LINE} bytes", where=str(path), remedy=REMEDY)
                if progress:
                    progress(len(line))
                if line.strip():
                    yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path), remedy=REMEDY) from error


def _keep(kept: list[Violation], new: Violation) -> None:
    """Keep the smallest few: a dataset can have millions."""
    kept.append(new)
    if len(kept) > 4 * MAX_EXAMPLES:
        kept.sort(key=Violation.size)
        del kept[MAX_EXAMPLES:]


def _violation(problem: Problem, path: Path, line: int) -> Violation:
    where = Where(path.name, line, problem.path)
    return Violation(tidy(problem.message), problem.path, tidy(problem.expected), tidy(problem.actual), None, where)


def _finding(
    check: Invariant, path: Path, records: int, broken: tuple[list[Violation], int], seconds: float
) -> Finding:
    kept, count = broken
    note = "" if records else "the file holds no record. Remedy: give a file with records"
    return Finding(
        invariant=check.id,
        boundary=check.boundary,
        severity=check.severity,
        kind="A",
        status="error" if not records else "violated" if count else "held",
        checked=records,
        config=path.name,
        claim=check.claim,
        violations=sorted(kept, key=Violation.size)[:MAX_EXAMPLES],
        violation_count=count,
        evidence=[Evidence("artifact", path=path.name)],
        remedy=check.remedy,
        spec="; ".join(map(str, check.spec)),
        note=note,
        seconds=seconds,
    )
