"""Whether a batch holds the samples that it was made of: each one whole, and each one once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from coordexp_audit_lib.boundaries.packing.artifact import Array, PackedRow, Unpacked
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem, Undecided

NEEDED = "needs the samples that the batch was made of"


class Found(msgspec.Struct, frozen=True):
    """Where whole samples stand in a row of tokens.

    order: number and first token of each, ascending by token; one that stands there twice is named twice. rest: the
    tokens that belong to none, by their place. counts: how often each sample of that number stands there.
    """

    order: list[tuple[int, int]]
    rest: Array
    counts: list[int]

    @property
    def seen(self) -> int:
        """How many of the samples stand there."""
        return sum(map(bool, self.counts))

    @property
    def once(self) -> bool:
        """Whether each sample stands there once."""
        return set(self.counts) == {1}


def found(ids: Array, parts: Sequence[Array]) -> Found:
    """Find samples in a row of tokens [L]. Their order is free; of several that fit at a token one that is still
    missing goes first, then the next in order, then the longest."""
    order: list[tuple[int, int]] = []
    counts, rest, at, turn = [0] * len(parts), [], 0, 0
    by_first: dict[int, list[int]] = {}
    for number, part in enumerate(parts):
        if part.size:
            by_first.setdefault(int(part[0]), []).append(number)
    while at < ids.size:
        here = [n for n in by_first.get(int(ids[at]), ()) if np.array_equal(ids[at : at + parts[n].size], parts[n])]
        if not here:
            rest.append(at)
            at += 1
            continue
        chosen = min(here, key=lambda n: (counts[n] > 0, n != turn, -parts[n].size, n))
        order.append((chosen, at))
        counts[chosen] += 1
        at, turn = at + parts[chosen].size, chosen + 1
    return Found(
        order, np.array(rest, dtype=np.int64), [c if p.size else 1 for c, p in zip(counts, parts, strict=True)]
    )


def placed(row: PackedRow, samples: Sequence[Unpacked]) -> PackedRow:
    """The batch with the samples that it was made of, in the order in which they stand there, and where.

    A sample may stand there without its last token, as where ids and labels were shifted against each other. Where one
    is missing, stands there twice or is not whole, only their tokens are compared.
    """
    ids = row.get("input_ids")
    if ids is None:
        return row.like(row.tensors, samples)
    flat, length = ids.reshape(-1), ids.shape[-1]
    short = [replace(s, input_ids=s.input_ids[:-1], labels=_but_last(s.labels)) for s in samples]
    whole, without = (found(flat, [np.asarray(s.input_ids) for s in of]) for of in (samples, short))
    there, chosen = (whole, samples) if whole.seen >= without.seen else (without, short)
    if not there.once:
        return row.like(row.tensors, [Unpacked(s.input_ids, None, None, None) for s in chosen])
    places = [divmod(at, length) for _, at in there.order]
    return row.like(row.tensors, [replace(chosen[n], number=n) for n, _ in there.order], places=places)


def _but_last(values: Any) -> Any:
    return None if values is None else values[:-1]


def shown(row: PackedRow) -> Array | None:
    """The tokens of a row that attention may see, [L]; None where there is not one row of them."""
    ids, mask = row.flat("input_ids"), row.flat_mask
    return ids if ids is None or mask is None else ids[mask != 0]


def each_once(row: PackedRow, ledger: Ledger) -> Iterator[Problem]:
    """Each sample that the batch was made of stands in it once, and whole. Counts samples.

    What adds tokens to every sample, or changes them all, leaves none to compare with, and is not judged.
    """
    parts = [np.asarray(s.input_ids) for s in row.samples]
    if not parts:
        raise Undecided(NEEDED)
    if row.rows != 1 and _rows_are(row, parts):
        yield from _of_rows(row, parts, ledger)
        return
    ids = shown(row) if row.rows == 1 else row.tensors["input_ids"].reshape(-1)
    if ids is None:
        raise Undecided("needs input_ids of the pack's length")
    there = found(ids, parts)
    if not any(there.counts):
        raise Undecided("no sample's tokens stand in the batch as they are")
    ledger.judged(len(parts))
    for number, times in enumerate(there.counts):
        if times == 0:
            yield _gone(number, ids, there, parts)
        elif times > 1:
            again = [at for n, at in there.order if n == number][1]
            what = f"sample {number} of {len(parts)} stands in the batch {times} times"
            yield Problem(what, expected=1, actual=times, token=again)


def _gone(number: int, ids: Array, there: Found, parts: Sequence[Array]) -> Problem:
    """A sample that does not stand in the row as a whole: how much of it does, among what belongs to no other."""
    part, best, place = parts[number], 0, None
    for at in there.rest[ids[there.rest] == part[0]].tolist():
        end = min(part.size, ids.size - at)
        same = int(np.argmin(np.append(ids[at : at + end] == part[:end], False)))
        best, place = max((best, place), (same, at), key=lambda found: found[0])
    if place is None:
        what = f"sample {number} of {len(parts)} is lost: none of its {part.size} tokens stand together in the batch"
        return Problem(what, expected=1, actual=0)
    what = f"sample {number} of {len(parts)} is not whole: after {best} of its {part.size} tokens others follow"
    return Problem(what, expected=int(part.size), actual=best, token=int(place) + best)


def _rows_are(row: PackedRow, parts: Sequence[Array]) -> bool:
    """Whether every row is one of the samples."""
    return set(_keys(row)) <= set(map(_key, parts))


def _keys(row: PackedRow) -> list[bytes]:
    """What each row holds that attention may see."""
    ids, mask = row.get("input_ids"), row.get("attention_mask")
    if ids is None or ids.ndim != 2:
        raise Undecided("needs input_ids")
    flags = mask != 0 if mask is not None and mask.shape == ids.shape else np.ones(ids.shape, bool)
    return [_key(tokens[there]) for tokens, there in zip(ids, flags, strict=True)]


def _of_rows(row: PackedRow, parts: Sequence[Array], ledger: Ledger) -> Iterator[Problem]:
    """Several rows, each of them one sample and padding. That all stand there equally often is no mistake: some
    trainers repeat each."""
    wanted, given = Counter(map(_key, parts)), Counter(_keys(row))
    ledger.judged(len(parts))
    times = [given[_key(part)] / wanted[_key(part)] for part in parts]
    for number, often in enumerate(times):
        if often == 0:
            yield Problem(f"sample {number} of {len(parts)} is lost: no row holds it", expected=1, actual=0)
        elif often > min(t for t in times if t):
            what = f"sample {number} of {len(parts)} stands in more rows than others"
            yield Problem(what, expected=wanted[_key(parts[number])], actual=given[_key(parts[number])])


def _key(tokens: Array) -> bytes:
    return np.asarray(tokens, dtype=np.int64).tobytes()
