"""The rules by which a training step chooses its channel and its rollout seeds. Each stands here once.

Step s (from 0) runs Channel-B iff floor((s+1)·b) > floor(s·b), so that floor(n·b) of the first n steps do. In floats,
as trainers compute it: with b = 0.29, floor(100·b) is 28.

A step's seed base is (training seed + s · STRIDE) mod 2³¹. 0 would read as no seed, so 1 stands for it.
"""

from __future__ import annotations

from itertools import pairwise
from math import floor

STRIDE = 1_000_003  # between the seed bases of two steps
RANGE = 1 << 31  # seeds are 31 bits


def b_steps(steps: int, share: float) -> int:
    """How many of the first `steps` steps run Channel-B, if `share` (0..1) of all do."""
    return floor(steps * share)


def is_b_step(step: int, share: float) -> bool:
    """Whether step `step` (from 0) runs Channel-B."""
    return b_steps(step + 1, share) > b_steps(step, share)


def channels(share: float, start: int, stop: int) -> str:
    """One letter, `A` or `B`, for each step from `start` up to and without `stop`."""
    counts = [b_steps(s, share) for s in range(start, stop + 1)]
    return "".join("B" if after > before else "A" for before, after in pairwise(counts))


def seed_base(seed: int, step: int) -> int:
    """The seed base of a step, 0..2³¹-1, by the formula alone."""
    return (seed + step * STRIDE) % RANGE


def training_seed(base: int, step: int) -> int:
    """The training seed, 0..2³¹-1, whose seed base in step `step` is `base`."""
    return (base - step * STRIDE) % RANGE


def request_seed(base: int, index: int = 0) -> int:
    """The seed, 1..2³¹-1, of a step's request number `index` (from 0)."""
    return (base + index) % RANGE or 1


def counted_base(seed: int, step: int, requests: int) -> int:
    """A seed base, from 1, of which `requests` seeds can be counted on without leaving an int32.

    For a server that gives the requests of one call consecutive seeds.
    """
    return 1 + (seed + step * STRIDE) % (RANGE - max(requests, 1))
