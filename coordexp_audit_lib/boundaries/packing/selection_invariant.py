"""The claim about which buffered rollout segments go into the next pack."""

from __future__ import annotations

from collections.abc import Iterator

from coordexp_audit_lib.boundaries.packing import cases, plans
from coordexp_audit_lib.boundaries.packing.surfaces import SELECT, SelectRequest
from coordexp_audit_lib.core.claim import Context, invariant
from coordexp_audit_lib.core.finding import Violation

FEWER, NOTHING = "fewer packs", "nothing"
UNDERFILLED = "as many packs, fewer of them underfilled"


@invariant(
    "packing.fill_at_least_fifo",
    boundary="packing",
    severity="P2",
    kind="B",
    claim="Post-rollout selection includes the oldest segment and never fills less than first-in-first-out greedy.",
    remedy="Compute the first-in-first-out selection too, and keep it unless another one is strictly fuller.",
    spec="openspec/specs/rollout-matching-sft/spec.md (Selection requirements)",
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
        chosen = ctx.value(SELECT, SelectRequest(buffers, length)).chosen
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
    floor = SelectRequest([], length).min_fill_ratio * length
    sizes = []
    for by_target in (True, False):
        waiting, packs = list(lengths), list[int]()
        while waiting:
            if by_target:
                chosen = ctx.value(SELECT, SelectRequest([waiting], length)).chosen[0]
            else:
                chosen = plans.fifo(waiting, length)
            if not chosen:
                return NOTHING
            packs.append(sum(waiting[i] for i in chosen))
            waiting = [n for i, n in enumerate(waiting) if i not in set(chosen)]
        sizes.append((len(packs), sum(p < floor for p in packs)))
    theirs, fifo = sizes
    return FEWER if theirs[0] < fifo[0] else UNDERFILLED if theirs < fifo else NOTHING
