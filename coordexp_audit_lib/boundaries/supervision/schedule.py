"""The schedule by its rule, block by block."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from math import floor


def letters(b: float, start: int, stop: int) -> str:
    """One letter per step: `B` where floor((s+1) b) > floor(s b)."""
    counts = [floor(s * b) for s in range(start, stop + 1)]
    return "".join("B" if after > before else "A" for before, after in pairwise(counts))


def blocks_of(b: float, start: int, stop: int, block: int) -> list[str]:
    """The first 8 hex digits of the sha256 of each block's letters."""
    line = letters(b, start, stop)
    return [digest(line[i : i + block]) for i in range(0, len(line), block)]


def digest(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()[:8]
