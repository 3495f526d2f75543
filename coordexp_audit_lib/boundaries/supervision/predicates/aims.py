"""Where the coordinates of Channel-A are moved to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from coordexp_audit_lib.boundaries.supervision.predicates.roles import VOCABULARY, is_coordinate
from coordexp_audit_lib.boundaries.supervision.surfaces import ChannelA
from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem


def aimed(answer: ChannelA, aims: Mapping[int, int], ledger: Ledger, sorted_corners: bool) -> Iterator[Problem]:
    """Each slot is moved to its own bin. Counts slots.

    aims: by a slot's place in the batch, the bin that its gradient points to. sorted_corners: a slot may be moved to
    the opposite corner's bin.
    """
    first = VOCABULARY.first_coordinate or 0
    for n, segment in enumerate(answer.segments):
        start = segment.row * answer.length + segment.start + segment.prompt_len
        slots = [(start + p, t - first) for p, t in enumerate(segment.ids) if is_coordinate(t)]
        for i, (place, own) in enumerate(slots):
            ledger.judged()
            opposite = slots[i - i % 4 + (i + 2) % 4][1]
            allowed = (own, opposite) if sorted_corners else (own,)
            found = aims.get(place, -1)
            where = f"sample {n}, token {place - start}"
            if found < 0:
                yield Problem("a supervised coordinate gets no gradient", where, "not zero", "zero")
            elif min(abs(found - k) for k in allowed) > 1:
                message = "a coordinate's gradient points to another bin than the ground truth's"
                yield Problem(message, where, own, found)
