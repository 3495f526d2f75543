"""What a packing plan must be: predicates over sample indices and lengths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from coordexp_audit_lib.boundaries.packing.surfaces import Plan
from coordexp_audit_lib.core.problem import Problem

Lengths: TypeAlias = Sequence[int]
Packs: TypeAlias = Sequence[Sequence[int]]
LESS_THAN_FIFO = "the selection fills less than first in, first out"


def within_capacity(lengths: Lengths, packs: Packs, capacity: int, allow_single_long: bool) -> Iterator[Problem]:
    """Each pack fits; a sample longer than the capacity stands by itself if that is allowed, and nowhere if not."""
    for pack in packs:
        total = sum(lengths[i] for i in pack)
        if total <= capacity:
            continue
        if len(pack) > 1:
            yield Problem(f"pack {list(pack)} holds more tokens than packing_length", expected=capacity, actual=total)
        elif not allow_single_long:
            text = f"sample {pack[0]} is too long and packed though single long samples are not allowed"
            yield Problem(text, expected=f"at most {capacity}", actual=total)


def long_accounted(
    lengths: Lengths, packs: Packs, capacity: int, *, allowed: bool, counts: tuple[int | None, int | None]
) -> Iterator[Problem]:
    """Over-long samples are emitted by themselves if `allowed`, and counted either way.

    counts: the pipeline's own, emitted by themselves and skipped. A sample of exactly `capacity`
    may count as over-long or not.
    """
    least, most = sum(n > capacity for n in lengths), sum(n >= capacity for n in lengths)
    emitted = sum(len(p) == 1 and lengths[p[0]] > capacity for p in packs)
    if allowed and emitted < least:
        text = "over-long samples are not emitted by themselves though single long samples are allowed"
        yield Problem(text, expected=least, actual=emitted)
        return
    counted, what = (counts[0], "emitted by themselves") if allowed else (counts[1], "skipped")
    if counted is None:  # no sample is lost by that; `each_once` sees to those that are
        if least:
            yield Problem(f"over-long samples are {what}, and no count is kept of them", expected=least, severity="P2")
    elif not least <= counted <= most:
        yield Problem(f"over-long samples are {what} but not counted", expected=least, actual=counted)


def each_once(total: int, packs: Packs, skipped: int | None, dropped: int | None) -> Iterator[Problem]:
    """Every index below `total` is in one pack, or was counted as skipped or dropped."""
    seen = Counter(i for pack in packs for i in pack)
    if strangers := sorted(i for i in seen if not 0 <= i < total):
        text = "a pack holds a sample that is not in the dataset"
        yield Problem(text, expected=f"below {total}", actual=strangers[:5])
    if twice := sorted(i for i, n in seen.items() if n > 1):
        yield Problem("a sample is packed more than once", expected=1, actual={str(i): seen[i] for i in twice[:5]})
    absent = [i for i in range(total) if i not in seen]
    counted = (skipped or 0) + (dropped or 0)
    if len(absent) != counted:
        text = f"{len(absent)} of {total} samples are in no pack, and the pipeline's own counts account for {counted}"
        yield Problem(text, expected=counted, actual=absent[:8])


def in_order(packs: Sequence[Sequence[int]]) -> Iterator[Problem]:
    """Samples keep dataset order inside each pack."""
    for pack in packs:
        if list(pack) != sorted(pack):
            yield Problem("samples do not keep dataset order inside a pack", expected=sorted(pack), actual=list(pack))


def ranks_aligned(plan: Plan, world: int, drop_last: bool) -> Iterator[Problem]:
    """All ranks hold one plan, take equally many packs of it, and together take it once."""
    if len(plan.ranks) != world or len(set(plan.rank_digests)) != 1:
        yield Problem("ranks hold different plans", expected=f"{world} equal", actual=plan.rank_digests)
    counts = [len(r) for r in plan.ranks]
    if len(set(counts)) > 1 or not counts or counts[0] == 0:
        yield Problem("ranks get different numbers of packs, or none", expected="equal and positive", actual=counts)
    taken = sorted(i for r in plan.ranks for i in r)
    if taken != list(range(len(plan.aligned))):
        yield Problem("the ranks together do not take each pack once", expected=len(plan.aligned), actual=taken[:20])
    if drop_last:
        whole = len(plan.packs) // world * world
        if plan.aligned != plan.packs[:whole]:
            text = "the aligned plan is not the plan cut to a multiple of the ranks"
            yield Problem(text, expected=whole, actual=len(plan.aligned))
        return
    rest = plan.aligned[len(plan.packs) :]
    if plan.aligned[: len(plan.packs)] != plan.packs or len(rest) != -len(plan.packs) % world:
        text = "the aligned plan is not the plan with as few repeats as make it a multiple of the ranks"
        yield Problem(text, expected=len(plan.packs) + -len(plan.packs) % world, actual=len(plan.aligned))
    if [plan.packs[i] if 0 <= i < len(plan.packs) else None for i in plan.repeated] != rest:
        yield Problem("the repeated packs are not those that the plan names", expected=plan.repeated, actual=rest)


def fifo(lengths: Sequence[int], capacity: int) -> list[int]:
    """First in, first out: the oldest, then each next that still fits."""
    chosen, room = [], capacity
    for i, n in enumerate(lengths):
        if n <= room:
            chosen.append(i)
            room -= n
        elif i == 0:
            break
    return chosen


def at_least_fifo(lengths: Sequence[int], chosen: Sequence[int], capacity: int) -> Iterator[Problem]:
    """The oldest is chosen, none twice, they fit, and they fill no less than first in, first out does."""
    if len(set(chosen)) != len(chosen) or any(not 0 <= i < len(lengths) for i in chosen):
        text = "the selection is not a set of buffered segments"
        yield Problem(text, expected=f"below {len(lengths)}", actual=list(chosen))
        return
    if 0 not in chosen:
        yield Problem("the oldest segment is left waiting", expected=0, actual=list(chosen))
    total, least = sum(lengths[i] for i in chosen), sum(lengths[i] for i in fifo(lengths, capacity))
    if total > capacity:
        yield Problem("the selection does not fit", expected=capacity, actual=total)
    if total < least:
        yield Problem(LESS_THAN_FIFO, expected=least, actual=total)


def lower_bound(lengths: Sequence[int], capacity: int) -> int:
    """No packing of these needs fewer packs: total over capacity, or samples above half, each in a pack of its own."""
    short = [n for n in lengths if n <= capacity]
    by_itself = len(lengths) - len(short)
    return by_itself + max(-(-sum(short) // capacity), sum(2 * n > capacity for n in short))
