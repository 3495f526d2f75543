"""How accelerate deals packs out to ranks, as under `transformers.Trainer`. Standard library only at import time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def dealt(packs: Sequence[Sequence[int]], world: int, drop_last: bool) -> dict[str, Any]:
    """What `replies.plan` wants of the ranks: packs that are dealt out again stand at the end of the aligned plan.

    packs: the plan, not shuffled, as sample numbers. world: ranks.
    """
    from accelerate.data_loader import BatchSamplerShard
    from torch.utils.data import BatchSampler

    rows = [BatchSamplerShard(BatchSampler(range(len(packs)), 1, drop_last), world, rank) for rank in range(world)]
    ranks = [[i for batch in row for i in batch] for row in rows]
    turns = max(map(len, ranks))
    order = [(rank, turn) for turn in range(turns) for rank in range(world) if turn < len(ranks[rank])]
    seen: set[int] = set()
    repeated: list[int] = []
    for rank, turn in order:
        i = ranks[rank][turn]
        if i in seen:
            ranks[rank][turn] = len(packs) + len(repeated)
            repeated.append(i)
        seen.add(i)
    return {
        "ranks": ranks,
        "aligned": [packs[i] for i in sorted(seen)] + [packs[i] for i in repeated],
        "repeated": repeated,
    }
