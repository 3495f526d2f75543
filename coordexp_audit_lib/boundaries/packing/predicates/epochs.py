"""What a data loader must hand out over an epoch, and to each of its workers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np

from coordexp_audit_lib.boundaries.packing.artifact import Array
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.finding import Severity
from coordexp_audit_lib.core.problem import Problem, Undecided

SHOWN = 5
TOLD: Severity = "P2"  # what a program may mean
LEAST_ROWS = 2  # different ones; a stream of one sample tells nothing


class Epoch(msgspec.Struct, frozen=True):
    """The samples of one epoch, by their numbers in the data set.

    number: of the epoch, from 1. size: samples in the data set. counts: [size], how often each was trained on. before:
    [size] or None, those that were trained on in this epoch before the run was resumed. whole: the epoch went to its
    end. planned: how many samples the sampler says that it gives; None if it says none. replaces: it draws with
    replacement, so that samples repeat by plan. spare: samples that may be left out at the end, as no whole batch.
    usual: the sampler is of a kind that gives each sample once; of another kind only a whole epoch tells. holders:
    [size] or None, how many of several ranks trained on each; counts are of all ranks then. filling: samples that may
    come again at the end, so that all ranks take equally many batches.
    """

    number: int
    size: int
    counts: Array
    before: Array | None = None
    whole: bool = False
    planned: int | None = None
    replaces: bool = False
    spare: int = 0
    usual: bool = True
    holders: Array | None = None
    filling: int = 0


class Workers(msgspec.Struct, frozen=True):
    """The workers of one data loader as they began, by their numbers.

    states: for each source of random numbers, each worker's state. rows: of a stream, what each was given first.
    """

    states: Mapping[str, Mapping[int, str]] = {}
    rows: Mapping[int, Sequence[str]] = {}


def epoch_once(one: Epoch, ledger: Ledger) -> Iterator[Problem]:
    """Each sample once. Counts samples that were trained on."""
    earlier = one.before if one.before is not None else np.zeros(one.size, bool)
    times = one.counts.astype(np.int64) + earlier
    if one.replaces:
        raise Undecided("the sampler draws with replacement")
    if not one.counts.any():
        raise Undecided("no sample was trained on")
    if not (one.usual or one.whole or earlier.any()):
        raise Undecided("the sampler is of its own kind, and the epoch did not end")
    seen = times[times > 0]
    more = one.planned != one.size if one.holders is not None else seen.size == one.size or one.planned != one.size
    if not earlier.any() and seen.min() == seen.max() > 1 and more:
        raise Undecided(f"each sample is given {seen[0]} times by plan")
    ledger.judged(int(one.counts.sum()))
    shared = np.flatnonzero(one.holders > 1) if one.holders is not None else np.zeros(0, np.int64)
    again = np.flatnonzero(times > 1)
    if shared.size > one.filling:
        text = f"epoch {one.number}: {shared.size} of {one.size} samples were trained on by more than one rank"
        shown = {"samples": shared[:SHOWN].tolist()}
        yield Problem(text, "samples", "each by one rank", int(shared.size), shown, severity=TOLD)
    elif again.size > one.filling:
        known = np.flatnonzero((times > 1) & earlier.astype(bool)).size
        since = f", {known} of them before the run was resumed and again after it" if known else ""
        text = f"epoch {one.number}: {again.size} of {one.size} samples were trained on more than once{since}"
        yield Problem(text, "samples", 1, int(times.max()), {"samples": again[:SHOWN].tolist()}, severity=TOLD)
    gone = np.flatnonzero(times == 0)
    if one.whole and one.planned == one.size and gone.size > one.spare:
        text = f"epoch {one.number}: {gone.size} of {one.size} samples were left out"
        yield Problem(text, "samples", 0, int(gone.size), {"samples": gone[:SHOWN].tolist()}, severity=TOLD)


def workers_apart(one: Workers, ledger: Ledger) -> Iterator[Problem]:
    """No two workers begin with one state of random numbers, nor give the same samples. Counts workers."""
    known = {n for states in one.states.values() for n in states} | set(one.rows)
    if len(known) < 2:
        raise Undecided("the data are not loaded by several workers")
    ledger.judged(len(known))
    for source, states in sorted(one.states.items()):
        for same in _alike(states):
            text = f"loader workers {_and(same)} begin with the same state of {source}: they draw the same numbers"
            yield Problem(text, source, "a state of its own for each", len(same), severity=TOLD)
    telling = {n: tuple(rows) for n, rows in one.rows.items() if len(set(rows)) >= LEAST_ROWS}
    for same in _alike(telling):
        text = f"loader workers {_and(same)} give the same samples: the stream is not split among them"
        yield Problem(text, "samples", "a part of its own for each", len(same), severity=TOLD)


def _alike(given: Mapping[int, object]) -> Iterator[list[int]]:
    """The numbers of those that have one value in common."""
    groups: dict[object, list[int]] = {}
    for number, value in sorted(given.items()):
        groups.setdefault(value, []).append(number)
    return (numbers for numbers in groups.values() if len(numbers) > 1)


def _and(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:-1])) + f" and {numbers[-1]}"
