"""The reference's answers: packing by first fit, largest first, with an exact account of every sample."""

from __future__ import annotations

from coordexp_audit_lib.boundaries.packing import surfaces as s
from coordexp_audit_lib.core.evidence import digest
from coordexp_audit_lib.core.surface import Refuse, answers


def first_fit(lengths: dict[int, int], capacity: int) -> list[list[int]]:
    """Bins of indices, each ascending: the largest item first, into the first bin with room; ties by index."""
    bins: list[list[int]] = []
    room: list[int] = []
    for index in sorted(lengths, key=lambda i: (-lengths[i], i)):
        at = next((b for b, free in enumerate(room) if lengths[index] <= free), len(bins))
        if at == len(bins):
            bins.append([])
            room.append(capacity)
        bins[at].append(index)
        room[at] -= lengths[index]
    return [sorted(b) for b in bins]


class Account:
    """What became of each sample: in a pack, by itself because it is too long, skipped for that, or dropped."""

    def __init__(self, lengths: list[int], capacity: int, allow_single_long: bool) -> None:
        self.lengths, self.capacity = lengths, capacity
        long = [i for i, n in enumerate(lengths) if n > capacity]
        self.single = [[i] for i in long] if allow_single_long else []
        self.skipped = 0 if allow_single_long else len(long)
        self.dropped = 0

    def short(self, indices: list[int]) -> dict[int, int]:
        return {i: self.lengths[i] for i in indices if self.lengths[i] <= self.capacity}

    def keep(self, packs: list[list[int]], floor: float, drop_last: bool) -> list[list[int]]:
        """All packs but, with `drop_last`, the emptiest one if it is underfilled; its samples are counted."""
        fills = [sum(self.lengths[i] for i in p) for p in packs]
        if drop_last and packs and min(fills) < floor:
            packs = list(packs)
            self.dropped += len(packs.pop(fills.index(min(fills))))
        return packs


@answers(s.PLAN)
def plan(request: s.PlanRequest) -> s.Plan:
    account = Account(request.lengths, request.packing_length, request.allow_single_long)
    packs = first_fit(account.short(list(range(len(request.lengths)))), request.packing_length)
    packs = account.keep(packs, request.packing_length * request.min_fill_ratio, request.drop_last)
    packs = sorted([*packs, *account.single])
    world = request.world_size
    kept = len(packs) // world * world if request.dataloader_drop_last else len(packs)
    if not kept:
        remedy = "Add samples, use fewer ranks, or set dataloader_drop_last to false"
        raise Refuse(f"{len(packs)} packs for {world} ranks: a rank would have none. {remedy}")
    repeated = [i % len(packs) for i in range(-kept % world)]
    aligned = packs[:kept] + [packs[i] for i in repeated]
    ranks = [list(range(r, len(aligned), world)) for r in range(world)]
    counts = (len(account.single), account.skipped, account.dropped)
    return s.Plan(packs, aligned, ranks, [digest(aligned)] * world, repeated, *counts)


@answers(s.STREAM)
def stream(request: s.StreamRequest) -> s.Stream:
    account = Account(request.lengths, request.packing_length, request.allow_single_long)
    packs: list[list[int]] = []
    buffer: list[int] = []
    floor = request.packing_length * request.min_fill_ratio
    for index, length in enumerate(request.lengths):
        if length > request.packing_length:
            packs += [[index]] if request.allow_single_long else []
            continue
        buffer.append(index)
        if len(buffer) >= request.buffer_size:
            made = first_fit(account.short(buffer), request.packing_length)
            full = [p for p in made if sum(request.lengths[i] for i in p) >= floor] or made[:1]
            packs += full
            buffer = sorted(set(buffer) - {i for p in full for i in p})
    packs += account.keep(first_fit(account.short(buffer), request.packing_length), floor, request.drop_last)
    return s.Stream(packs, len(account.single), account.skipped, account.dropped)


def select_one(lengths: list[int], capacity: int) -> list[int]:
    """The oldest segment, and of what is left the better of first-in-first-out and largest-first."""
    if not lengths:
        return []
    if max(lengths) > capacity:
        raise Refuse(f"a segment of {max(lengths)} tokens exceeds packing_length {capacity}: raise global_max_length")
    by_age = list(range(1, len(lengths)))
    by_size = sorted(by_age, key=lambda i: (-lengths[i], i))
    fillings = [sorted([0, *_fill(lengths, order, capacity - lengths[0])]) for order in (by_age, by_size)]
    return max(fillings, key=lambda chosen: sum(lengths[i] for i in chosen))


def _fill(lengths: list[int], order: list[int], room: int) -> list[int]:
    chosen = []
    for i in order:
        if lengths[i] <= room:
            chosen.append(i)
            room -= lengths[i]
    return chosen


@answers(s.SELECT)
def select(request: s.SelectRequest) -> s.Select:
    return s.Select([select_one(buffer, request.packing_length) for buffer in request.buffers])


@answers(s.DRAIN)
def drain(request: s.DrainRequest) -> s.Drain:
    if max(request.lengths, default=0) > request.packing_length:
        longest = max(request.lengths)
        raise Refuse(f"a segment of {longest} tokens exceeds packing_length {request.packing_length}: shorten it")
    if request.buffer_cap and len(request.lengths) > request.buffer_cap:
        raise Refuse(f"{len(request.lengths)} segments exceed packing_buffer {request.buffer_cap}: raise it")
    waiting, packs = list(range(len(request.lengths))), []
    while waiting:
        chosen = select_one([request.lengths[i] for i in waiting], request.packing_length)
        packs.append([waiting[i] for i in chosen])
        waiting = [i for n, i in enumerate(waiting) if n not in chosen]
    return s.Drain(packs)


def packs(lengths: list[int], packing_length: int, path: str) -> list[list[int]]:
    """The packs of a dataset, or of a rollout buffer: `path` as in `surfaces.BatchRequest`."""
    if path == "post_rollout":
        return drain(s.DrainRequest(lengths, packing_length)).packs
    return plan(s.PlanRequest(lengths, packing_length)).packs
