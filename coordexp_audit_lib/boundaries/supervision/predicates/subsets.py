"""Objects divided into given and remaining ones: a partition, drawn from the seed alone, with even chances."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from coordexp_audit_lib.boundaries.supervision.surfaces.continuation import Subset, SubsetRequest
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem

SIGMAS = 6.0  # of a binomial share: chance alone goes beyond it once in a thousand million draws


def sound(request: SubsetRequest, drawn: Sequence[Subset], ledger: Ledger) -> Iterator[Problem]:
    """Each draw is a partition of the objects, and its candidates are of those that remain. Counts draws."""
    everything = list(range(request.objects))
    for n, one in enumerate(drawn):
        ledger.judged()
        shown = {"mode": one.mode, "prefix": one.prefix, "remaining": one.remaining, "candidates": one.candidates}
        wanted = len(one.remaining)
        if request.candidates:
            wanted = min(wanted, request.candidates)
        if sorted(one.prefix + one.remaining) != everything:
            yield Problem("given and remaining objects are no partition", f"sample {n}", everything, shown)
        elif not set(one.candidates) <= set(one.remaining) or len(set(one.candidates)) != len(one.candidates):
            yield Problem("a candidate is none of the remaining objects", f"sample {n}", one.remaining, shown)
        elif len(one.candidates) != wanted:
            yield Problem("another number of candidates is scored", f"sample {n}", wanted, shown)
        elif (one.mode == "empty_prefix" and one.prefix) or (one.mode == "full_prefix" and one.remaining):
            yield Problem("the division is another than its name says", f"sample {n}", one.mode, shown)
        elif one.mode == "leave_one_out" and len(one.remaining) != 1:
            yield Problem("leaving one out leaves another number", f"sample {n}", 1, shown)


def seeded(
    first: Sequence[Subset], again: Sequence[Subset], later: Sequence[Subset], ledger: Ledger
) -> Iterator[Problem]:
    """Drawn again from the same seed all is the same; samples and epochs differ."""
    ledger.judged()
    if list(first) != list(again):
        yield Problem("the same seed draws another division", "seed")
    if len(first) > 1 and all(one == first[0] for one in first):
        yield Problem("every sample is divided alike, so the draw hangs on no sample", "sample")
    if list(first) == list(later):
        yield Problem("the next epoch divides each sample as this one", "epoch")


def mixed(request: SubsetRequest, drawn: Sequence[Subset], ledger: Ledger) -> Iterator[Problem]:
    """Each way to divide comes as often as the mixture says, renormalised over those that so many objects allow."""
    ledger.judged(len(drawn))
    possible = dict(request.mixture)
    if request.objects < 2:
        possible.pop("random_subset", None)
    whole, found = sum(possible.values()), Counter(one.mode for one in drawn)
    for mode in sorted({*possible, *found}):
        share = possible.get(mode, 0.0) / whole
        yield from _share(found[mode], len(drawn), share, f"{mode} is drawn", mode)


def even(request: SubsetRequest, drawn: Sequence[Subset], ledger: Ledger) -> Iterator[Problem]:
    """Every object is as often given as any other, and every remaining one as often a candidate. Counts draws."""
    open_draws = [one for one in drawn if one.mode not in ("empty_prefix", "full_prefix")]
    ledger.judged(len(open_draws))
    given = sum(len(one.prefix) for one in open_draws) / max(1, len(open_draws)) / request.objects
    for k in range(request.objects):
        hits = sum(k in one.prefix for one in open_draws)
        yield from _share(hits, len(open_draws), given, f"object {k} is given", f"object {k}")
    if not request.candidates:
        return
    for k in range(request.objects):
        asked = [one for one in drawn if k in one.remaining and len(one.remaining) > request.candidates]
        hits = sum(k in one.candidates for one in asked)
        chance = sum(request.candidates / len(one.remaining) for one in asked) / max(1, len(asked))
        yield from _share(hits, len(asked), chance, f"object {k}, where it remains, is a candidate", f"candidate {k}")


def _share(hits: int, draws: int, share: float, what: str, subject: str) -> Iterator[Problem]:
    if not draws:
        return
    spread = SIGMAS * math.sqrt(max(share * (1 - share), 1 / draws) / draws)
    if abs(hits / draws - share) > spread:
        message = f"{what} in {hits / draws:.1%} of the draws, where {share:.1%} is even"
        yield Problem(message, subject, round(share, 4), round(hits / draws, 4))
