"""Post-rollout selection includes the oldest segment and never fills less than first-in-first-out greedy.

A segment that is left waiting is trained on with a policy that has moved on since it was generated, or never; packs
that are emptier than need be take more forward passes for the same samples, and change how many samples a step sees.

Example: of lengths 4, 5, 2 at capacity 6 the next pack is `[0, 2]`; `[1]` leaves the oldest, `[0]` fills less."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.packing import cases
from coordexp_audit_lib.boundaries.packing import surfaces as s
from coordexp_audit_lib.boundaries.packing.artifact import PackedRow
from coordexp_audit_lib.boundaries.packing.predicates import plans
from coordexp_audit_lib.core.claim import Context, claim
from coordexp_audit_lib.core.fault import Honest, fault
from coordexp_audit_lib.core.finding import Violation

FEWER, NOTHING = "fewer packs", "nothing"
UNDERFILLED = "as many packs, fewer of them underfilled"


@claim(
    severity="P2",
    kind="B",
    remedy="Compute the first-in-first-out selection too, and keep it unless another one is strictly fuller.",
)
def fill_at_least_fifo(ctx: Context) -> Iterator[Violation]:
    """Every buffer of up to four segments at capacity 6, then random ones of up to 40 at the real capacity.

    A pipeline may give up fill on purpose, to need fewer packs in all. That breaks the claim too, but it is said what
    was bought: each such buffer is emptied both ways.
    """
    rng = ctx.rng("buffers")
    drawn = [[rng.randint(100, 6000) for _ in range(rng.randint(2, 40))] for _ in range(150)]
    gains, less = [], []
    for buffers, length in ((cases.small_buffers(6, 4), 6), (drawn, cases.GLOBAL_MAX_LENGTH)):
        chosen = ctx.value(s.SELECT, s.SelectRequest(buffers, length)).chosen
        if len(chosen) != len(buffers):
            yield Violation("not every buffer was answered", expected=len(buffers), actual=len(chosen))
        for lengths, picked in zip(buffers, chosen, strict=False):
            ctx.judged()
            filled, least = (
                sum(lengths[i] for i in c if i < len(lengths)) for c in (picked, plans.fifo(lengths, length))
            )
            gains.append(filled > least)
            for p in plans.at_least_fifo(lengths, picked, length):
                case = {"lengths": lengths, "packing_length": length, "chosen": picked}
                found = Violation(p.message, "post-rollout selection", p.expected, p.actual, case)
                if p.message == plans.LESS_THAN_FIFO:
                    less.append(found)
                else:
                    yield found
    ctx.fact("selections fuller than first-in-first-out", f"{sum(gains)} of {len(gains)}")
    yield from _with_price(ctx, less)


def _with_price(ctx: Context, less: list[Violation]) -> Iterator[Violation]:
    """Violations for fill given up, each with what the whole buffer gains by it."""
    bought = [_bought(ctx, v.counterexample["lengths"], v.counterexample["packing_length"]) for v in less]
    for v, what in zip(less, bought, strict=True):
        text = f"{v.message}; in return, emptying the buffer takes {what}"
        if what == NOTHING:
            text = f"{v.message}, and emptying the buffer takes no fewer packs in return"
        yield Violation(text, v.subject, v.expected, v.actual, v.counterexample)
    if less:
        for what in (FEWER, UNDERFILLED, NOTHING):
            ctx.fact(f"fill given up for {what}", f"{bought.count(what)} of {len(less)}")


def _bought(ctx: Context, lengths: list[int], length: int) -> str:
    """Compare the packs that empty a buffer by the target's selection with those of first in, first out."""
    floor = s.SelectRequest([], length).min_fill_ratio * length
    sizes = []
    for by_target in (True, False):
        waiting, packs = list(lengths), list[int]()
        while waiting:
            if by_target:
                chosen = ctx.value(s.SELECT, s.SelectRequest([waiting], length)).chosen[0]
            else:
                chosen = plans.fifo(waiting, length)
            if not chosen:
                return NOTHING
            packs.append(sum(waiting[i] for i in chosen))
            waiting = [n for i, n in enumerate(waiting) if i not in set(chosen)]
        sizes.append((len(packs), sum(p < floor for p in packs)))
    theirs, fifo = sizes
    return FEWER if theirs[0] < fifo[0] else UNDERFILLED if theirs < fifo else NOTHING


fill_at_least_fifo.not_on(PackedRow, "needs the buffer that the pack was selected from")


@fault(fill_at_least_fifo, "starved", s.SELECT, "the fullest selection wins even if it leaves the oldest segment")
def starved(request: s.SelectRequest, honest: Honest) -> s.Select:
    largest = [max(range(len(b)), key=lambda i: b[i]) for b in request.buffers]
    return s.Select([c if i in c else [i] for c, i in zip(honest(request).chosen, largest, strict=True)])


@fault(fill_at_least_fifo, "stops_early", s.SELECT, "selection stops at the first segment that does not fit")
def stops_early(request: s.SelectRequest, honest: Honest) -> s.Select:
    chosen = []
    for buffer in request.buffers:
        room, n = request.packing_length, 0
        while n < len(buffer) and buffer[n] <= room:
            room, n = room - buffer[n], n + 1
        chosen.append(list(range(n)))
    return s.Select(chosen)
