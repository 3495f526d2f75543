"""What the terms of an objective must do: each with its own weight, at each slot alike, as a mean.

A pull is how much of a term's own gradient a slot has, times the number of slots: the weight, where the term is a mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from coordexp_audit_lib.boundaries.supervision.predicates.roles import VOCABULARY, is_coordinate, shown
from coordexp_audit_lib.boundaries.supervision.surfaces.terms import Forced, Slot
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem

IGNORED = VOCABULARY.ignore_index
CLOSE = 0.02  # of a weight: what is measured of a gradient has three digits
STRAY = 0.05
NEAR = 3e-3  # of a share: a mean over one token too many or too few is off by one over their number


class Pulled(msgspec.Struct, frozen=True):
    """The slots of a batch where one term alone has a weight. wanted: for each sample its ground truth's bins."""

    term: str
    weight: float
    slots: Sequence[Sequence[Slot]]
    wanted: Sequence[Sequence[int]]


def reached(one: Pulled, ledger: Ledger) -> Iterator[Problem]:
    """Counts slots of ground truth."""
    name = one.term.replace("_", " ")
    for n, (slots, wanted) in enumerate(zip(one.slots, one.wanted, strict=True)):
        ledger.judged(len(wanted))
        if sorted(s.bin for s in slots) != sorted(wanted):
            found = sorted(s.bin for s in slots)
            yield Problem(f"not each coordinate has its {name}", f"sample {n}", sorted(wanted), found)
            continue
        for slot in slots:
            place = f"sample {n}, token {slot.position} ({slot.fate})"
            if not slot.pull:
                yield Problem(f"the {name} does not reach a supervised coordinate", place, one.weight, 0.0)
            elif abs(slot.pull - one.weight) > CLOSE * one.weight:
                yield Problem(f"the {name} of a coordinate has another weight", place, one.weight, slot.pull)
            elif slot.stray > STRAY:
                message = f"a coordinate's gradient is not that of its {name}"
                yield Problem(message, place, "nothing else", f"{slot.stray:.0%} of it is something else")


def labelled(rows: Sequence[Forced], ledger: Ledger) -> Iterator[Problem]:
    """Coordinates have no label, all other tokens of the answer their own. Counts tokens."""
    for n, row in enumerate(rows):
        ledger.judged(len(row.ids))
        for p, (token, label) in enumerate(zip(row.ids, row.labels, strict=True)):
            place = f"sample {n}, token {p} {shown(token)!r}"
            wanted = IGNORED if is_coordinate(token) else token
            if label == wanted:
                continue
            if is_coordinate(token):
                yield Problem("a coordinate token has a cross-entropy label", place, IGNORED, label)
            else:
                yield Problem("a token of the answer has not its own label", place, wanted, label)
        for p, share in enumerate(row.share):
            if share and is_coordinate(row.ids[p]):
                place = f"sample {n}, token {p} {shown(row.ids[p])!r}"
                yield Problem("cross-entropy reaches a coordinate token", place, "zero", "not zero")


def averaged(rows: Sequence[Forced], steps: int, ledger: Ledger) -> Iterator[Problem]:
    """Each token that has a label weighs one over the number of them in the optimizer step. Counts tokens."""
    count = sum(label != IGNORED for row in rows for label in row.labels)
    wanted = 1 / (count * steps) if count else 0.0
    for n, row in enumerate(rows):
        for p, (share, label) in enumerate(zip(row.share, row.labels, strict=True)):
            if label == IGNORED:
                continue
            ledger.judged()
            if abs(share - wanted) > NEAR * wanted:
                what = f"1 of {count} tokens" + (f" in each of {steps} micro-batches" if steps > 1 else "")
                place = f"sample {n}, token {p} {shown(row.ids[p])!r}"
                yield Problem(f"a token's cross-entropy has not the weight of {what}", place, f"{wanted:.4g}", share)
                return  # one divisor for all


def whole(shares: Sequence[Sequence[float]], ledger: Ledger) -> Iterator[Problem]:
    """The shares of a batch's tokens add up to one. Counts tokens that have one."""
    count, total = sum(s > 0 for row in shares for s in row), sum(map(sum, shares))
    if not count:
        ledger.left_out("the mean over tokens", "no token's share of the cross-entropy can be observed")
        return
    ledger.judged(count)
    if abs(total - 1) > NEAR:
        yield Problem("the weights of the text's tokens do not add up to one", "batch", 1.0, round(total, 4))
