"""Which answer a row of a batch was made of.

A row that begins with an answer's prompt and tokens is that answer's, by digests of its beginnings, so that thousands
of each take no longer than reading them. Another row is given to the answer with its prompt that has most tokens in
common with it, or to the one in its place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from coordexp_audit_lib.boundaries.rollout.predicates.exchanges import (
    Array,
    Exchanged,
    Pair,
    Sampled,
    TrainedRow,
    first_other,
)

TRIED = 256  # answers that a row without its like is compared with
LEAST = 4  # tokens in common that make an answer a row's


def paired(answers: Sequence[Sampled], rows: Sequence[TrainedRow], temperature: float | None = None) -> Exchanged:
    """Give each row its answer; a row that fits none is a stranger."""
    whole, prompts = Index(_joined(a) for a in answers), Index(a.prompt for a in answers)
    used: set[int] = set()
    pairs, strangers = [], []
    for number, row in enumerate(rows):
        same = list(whole.beginning(row.ids))
        mine = max((n for n, _ in same), key=lambda n: (_size(answers[n]), n not in used), default=None)
        if mine is None:
            near = [n for n, _ in prompts.beginning(row.ids)]
            place_of = number if len(rows) == len(answers) else None
            mine = _nearest(answers, row, (near or range(len(answers)))[:TRIED], used, place_of if near else None)
            mine = mine if mine is not None or not near else _only_free(near, used)
        if mine is None:
            strangers.append(row.name)
            continue
        used.add(mine)
        at = place(answers[mine], row)
        marks = np.zeros(row.ids.size, bool)
        for n, end in [*same, (mine, at + answers[mine].ids.size)]:
            marks[max(0, end - answers[n].ids.size) : end] = True
        pairs.append(Pair(row, answers[mine], at, marks))
    return Exchanged(pairs, len(answers), strangers, temperature)


def place(answer: Sampled, row: TrainedRow) -> int:
    """Where an answer begins in a row: behind its prompt, or where the batch says or its mask begins, whichever has
    most tokens in common."""
    tried = [] if answer.prompt is None else [answer.prompt.size]
    tried += [] if row.start is None else [row.start]
    if row.supervised is not None and row.supervised.any():
        tried.append(int(np.argmax(row.supervised)))
    if answer.ids.size:
        tried += np.flatnonzero(row.ids == answer.ids[0])[:TRIED].tolist()
    known = [at for at in dict.fromkeys(tried) if at <= row.ids.size] or [0]
    return max(known, key=lambda at: (first_other(row.ids[at:], answer.ids), -known.index(at)))


def _nearest(
    answers: Sequence[Sampled], row: TrainedRow, tried: Sequence[int], used: set[int], by_order: int | None
) -> int | None:
    """The answer with most tokens in common, an unused one before others; where none has some, the one in its place."""
    common = {n: first_other(row.ids[place(answers[n], row) :], answers[n].ids) for n in tried}
    best = max(common, key=lambda n: (common[n], n not in used, n == by_order), default=None)
    if best is not None and common[best] >= min(LEAST, answers[best].ids.size):
        return best
    return by_order if by_order in tried else None


def _only_free(tried: Sequence[int], used: set[int]) -> int | None:
    free = [n for n in tried if n not in used]
    return free[0] if len(free) == 1 else None


def _joined(answer: Sampled) -> Array | None:
    return None if answer.prompt is None else np.concatenate([answer.prompt, answer.ids])


def _size(answer: Sampled) -> int:
    return answer.ids.size + (answer.prompt.size if answer.prompt is not None else 0)


class Index:
    """Sequences by a digest of their content, to find those that another one begins with."""

    def __init__(self, sequences: Iterable[Array | None]) -> None:
        self.known: dict[tuple[int, bytes], list[int]] = {}
        for n, ids in enumerate(sequences):
            if ids is not None and ids.size:
                self.known.setdefault((int(ids.size), _digest(ids)), []).append(n)
        self.sizes = sorted({size for size, _ in self.known})

    def beginning(self, ids: Array) -> Iterator[tuple[int, int]]:
        """The number of each sequence that `ids` begins with, and its length."""
        state, done = hashlib.blake2b(digest_size=16), 0
        content = np.ascontiguousarray(ids, dtype=np.int64)
        for size in self.sizes:
            if size > content.size:
                return
            state.update(content[done:size].tobytes())
            done = size
            for n in self.known.get((size, state.copy().digest()), ()):
                yield n, size


def _digest(ids: Array) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(ids, dtype=np.int64).tobytes(), digest_size=16).digest()
