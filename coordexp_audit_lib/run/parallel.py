"""Judging side by side: groups of claims over processes, here or on a Dask cluster, with the same findings in the same
order however many, and whoever is killed over it.

A group is always judged in one piece, on a target of its own (`Target.apart`), so that what an answer leaves behind in
its worker reaches the same claims in every run. The number of processes decides only when a group has its turn.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeVar

from coordexp_audit_lib.core.claim import Claim
from coordexp_audit_lib.core.errors import AuditError, UsageError, one_line
from coordexp_audit_lib.core.finding import Finding
from coordexp_audit_lib.core.judge import Asked, Judges, Progress, judge, one_by_one
from coordexp_audit_lib.core.target import Target
from coordexp_audit_lib.kit.spread import Lost, Tell, Unreachable, spread
from coordexp_audit_lib.run.shares import Opening, Share, done_apart

T = TypeVar("T")
Work = Callable[[Target], T]
AT_ONCE = 2  # configs that a group is judged for in one piece


class Cluster(NamedTuple):
    """A Dask scheduler's address, and what its workers open the target by."""

    address: str
    opening: Opening


def side_by_side(jobs: int, cluster: Cluster | None = None) -> Judges:
    """For `core.judge.audit`: judge in so many processes, if the target can be asked so, else here; or on a cluster."""

    def judges(target: Target, asked: Sequence[Asked], seed: int, progress: Progress | None) -> list[Finding]:
        if cluster is None and not target.spread(jobs):
            return one_by_one(target, asked, seed, progress)
        groups = grouped([claim for claim, _ in asked], [config for _, config in asked])

        def begun(group: int, at: int) -> None:
            claim, config = asked[groups[group][at]]
            if progress:
                progress(claim, config if claim.per_config else None)

        if cluster is not None:
            told = [tuple((asked[i][0].id, asked[i][1]) for i in group) for group in groups]
            shares = [Share(cluster.opening, target.audited, seed, one, known=target.known()) for one in told]
            done = on_cluster(target, shares, cluster, begun)
        else:

            def work(claim: Claim, config: str) -> Work[Finding]:
                return lambda apart: judge(apart, claim, config, seed)

            done = in_groups(target, [[work(*asked[i]) for i in group] for group in groups], jobs, begun)
        found = dict(zip(chain(*groups), chain(*done), strict=True))
        return [found[i] for i in range(len(asked))]

    return judges


def grouped(claims: Sequence[Claim], configs: Sequence[str] = ()) -> list[list[int]]:
    """The claims' numbers in groups that are judged apart, those that take longest first.

    One boundary's claims are a group, for they ask the same; those that only read source are another, which is judged
    while the workers' imports run. Of many configs each pair has its own.
    """
    number = {config: at // AT_ONCE for at, config in enumerate(dict.fromkeys(configs))}
    groups: dict[tuple[bool, str, int], list[int]] = {}
    for i, claim in enumerate(claims):
        pair = number[configs[i]] if configs and claim.per_config else 0
        groups.setdefault((claim.kind != "S", claim.boundary, pair), []).append(i)
    return [numbers for _, numbers in sorted(groups.items(), key=lambda item: item[0][0])]


def in_groups(
    target: Target, groups: Sequence[Sequence[Work[T]]], jobs: int, begun: Callable[[int, int], None]
) -> list[list[T]]:
    """Do all work of each group on a target of its own; the results by group, whatever `jobs` is.

    Args:
        target: one that was told to `spread`; it takes in what the others have to tell, in the groups' order.
        groups: begun in this order. begun: called with the numbers of a group and of the work in it that begins.

    Raises:
        AuditError: one of the processes failed, or was killed each time that its group was tried.
    """

    def alone(number: int, begun: Tell) -> tuple[list[T], Any]:
        try:
            return _alone(target, groups[number], number, begun)
        except Exception as error:
            what = one_line(traceback.format_exc(limit=-3))
            raise AuditError(what, where="a process that judges", remedy="report a bug") from error

    return _collected(target, spread(alone, range(len(groups)), jobs, heard=begun), len(groups))


def on_cluster(
    target: Target, shares: Sequence[Share], cluster: Cluster, begun: Callable[[int, int], None]
) -> list[list[Any]]:
    """Have each share done by the cluster's workers; the results by share. begun: called when it was done.

    Raises:
        UsageError: there is no scheduler. AuditError: as for `in_groups`.
    """

    def told() -> Iterator[tuple[int, tuple[list[Any], Any]]]:
        for number, results in spread(done_apart, shares, scheduler=cluster.address):
            for at in range(len(shares[number].asked) or len(shares[number].shown)):
                begun(number, at)
            yield number, results

    try:
        return _collected(target, told(), len(shares))
    except Unreachable as error:
        remedy = "start one with `dask scheduler`, and workers with `dask worker`; or install coordexp-audit[data]"
        raise UsageError(f"is no Dask scheduler: {error}", where=cluster.address, remedy=remedy) from error


def _collected(target: Target, made: Iterator[tuple[int, tuple[list[T], Any]]], count: int) -> list[list[T]]:
    ended: dict[int, list[T]] = {}
    try:
        for number, (results, told) in made:
            ended[number] = results
            target.take_in(number, told)
    except Lost as error:
        remedy = "see whether memory is short"
        raise AuditError(f"it was killed: {error}", where="a process that judges", remedy=remedy) from error
    return [ended[i] for i in range(count)]


def _alone(target: Target, group: Sequence[Work[T]], number: int, begun: Tell) -> tuple[list[T], Any]:
    results = []
    with target.apart() as apart:
        for at, work in enumerate(group):
            begun(number, at)
            results.append(work(apart))
        return results, apart.told()
