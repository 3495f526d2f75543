"""Judging side by side: groups of claims over processes, with the same findings in the same order however many.

A group is always judged in one piece, on a target of its own (`Target.apart`), so that what an answer leaves behind in
its worker reaches the same claims in every run. The number of processes decides only when a group has its turn.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar, cast

from coordexp_audit_lib.core.claim import Claim
from coordexp_audit_lib.core.errors import AuditError, one_line
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import Asked, Judges, Progress, judge, one_by_one
from coordexp_audit_lib.core.target import Target
from coordexp_audit_lib.sandbox.supervisor import SET_PDEATHSIG
from coordexp_audit_lib.sandbox.walls import control

T = TypeVar("T")
Work = Callable[[Target], T]
BEGUN, DONE, FAILED = "begun", "done", "failed"


def side_by_side(jobs: int) -> Judges:
    """For `core.judge.audit`: judge in so many processes, if the target can be asked so, else here."""

    def judges(target: Target, asked: Sequence[Asked], seed: int, progress: Progress | None) -> list[Finding]:
        if not target.spread(jobs):
            return one_by_one(target, asked, seed, progress)
        groups = grouped([claim for claim, _ in asked])

        def work(claim: Claim, config: str) -> Work[Finding]:
            return lambda apart: judge(apart, claim, config, seed)

        def begun(group: int, at: int) -> None:
            claim, config = asked[groups[group][at]]
            if progress:
                progress(claim, config if claim.per_config else None)

        done = in_groups(target, [[work(*asked[i]) for i in group] for group in groups], jobs, begun)
        found = dict(zip(chain(*groups), chain(*done), strict=True))
        return [found[i] for i in range(len(asked))]

    return judges


def grouped(claims: Sequence[Claim]) -> list[list[int]]:
    """The claims' numbers in groups that are judged apart, those that take longest first.

    One boundary's claims are a group, for they ask the same; those that only read source are another, which is judged
    while the workers' imports run.
    """
    groups: dict[tuple[bool, str], list[int]] = {}
    for i, claim in enumerate(claims):
        groups.setdefault((claim.kind != "S", claim.boundary), []).append(i)
    return [numbers for _, numbers in sorted(groups.items(), key=lambda item: item[0][0])]


def in_groups(
    target: Target, groups: Sequence[Sequence[Work[T]]], jobs: int, begun: Callable[[int, int], None]
) -> list[list[T]]:
    """Do all work of each group on a target of its own; the results by group, whatever `jobs` is.

    Args:
        target: one that was told to `spread`; it takes in what the others have to tell, in the groups' order.
        groups: begun in this order. begun: called with the numbers of a group and of the work in it that begins.

    Raises:
        AuditError: one of the processes failed or was killed.
    """
    ended: dict[int, list[T]] = {}
    made: Iterable[tuple[int, list[T], Any]]
    if jobs > 1 and len(groups) > 1:
        made = _in_processes(target, groups, min(jobs, len(groups)), begun)
    else:
        made = ((i, *_alone(target, group, i, begun)) for i, group in enumerate(groups))
    for number, results, told in made:
        ended[number] = results
        target.take_in(number, told)
    return [ended[i] for i in range(len(groups))]


def _alone(
    target: Target, group: Sequence[Work[T]], number: int, begun: Callable[[int, int], None]
) -> tuple[list[T], Any]:
    results = []
    with target.apart() as apart:
        for at, work in enumerate(group):
            begun(number, at)
            results.append(work(apart))
        return results, apart.told()


def _in_processes(
    target: Target, groups: Sequence[Sequence[Work[T]]], jobs: int, begun: Callable[[int, int], None]
) -> Iterator[tuple[int, list[T], Any]]:
    """Hand out the groups in order to processes forked from this one, the next one to whoever is done."""
    forks = multiprocessing.get_context("fork")
    waiting = list(range(len(groups)))[::-1]
    judges: dict[Connection, Any] = {}
    try:
        for _ in range(jobs):
            ours, theirs = forks.Pipe()
            judges[ours] = forks.Process(target=_serve, args=(theirs, target, groups), daemon=True)
            judges[ours].start()
            theirs.close()  # so that its end is told when the process ends
            ours.send(waiting.pop())
        while judges:
            for ours in cast(list[Connection], wait(list(judges))):
                what, *told = _received(ours)
                if what == BEGUN:
                    begun(*told)
                elif what == DONE:
                    if waiting:
                        ours.send(waiting.pop())
                    else:
                        judges.pop(ours).terminate()
                    yield told[0], told[1], told[2]
                else:
                    raise AuditError(told[0], where="a process that judges", remedy="report a bug")
    finally:
        for judge_ in judges.values():
            judge_.terminate()


def _received(ours: Connection) -> Any:
    try:
        return ours.recv()
    except EOFError as error:
        remedy = "see whether memory is short"
        raise AuditError("it was killed", where="a process that judges", remedy=remedy) from error


def _serve(theirs: Connection, target: Target, groups: Sequence[Sequence[Work[Any]]]) -> None:
    """Judge the groups that are named through the pipe, until this process is ended."""
    control(SET_PDEATHSIG, signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    parent = os.getppid()

    def begun(number: int, at: int) -> None:
        if os.getppid() != parent:
            os._exit(1)
        theirs.send((BEGUN, number, at))

    try:
        while True:
            number = theirs.recv()
            results, told = _alone(target, groups[number], number, begun)
            theirs.send((DONE, number, results, told))
    except EOFError:
        return
    except BaseException:
        theirs.send((FAILED, one_line(traceback.format_exc(limit=-3))))
