"""The inputs that the checks of this boundary ask about. All are made from the seed; prompts are our own."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from coordexp_audit_lib.boundaries.packing.isolation import Attention, ForwardRequest
from coordexp_audit_lib.boundaries.packing.surfaces import (
    BatchRequest,
    DrainRequest,
    Picture,
    PlanRequest,
    Sample,
    StreamRequest,
)

GLOBAL_MAX_LENGTH = 12_000
TASK = ("system", "List the objects of the picture as JSON.")


def realistic_lengths(rng: random.Random, count: int) -> list[int]:
    """Token lengths as of dense detection samples: most between 1,500 and 5,000, a long tail to about 11,000."""
    return [min(11_500, max(400, int(rng.lognormvariate(7.85, 0.45)))) for _ in range(count)]


def plan_requests(rng: random.Random) -> Iterator[PlanRequest]:
    """Small plans with edges, then random ones, then one of realistic size."""
    edges = ([30, 20, 50, 100, 7], [100], [1] * 12, [51, 51, 51], [99, 2, 98, 3], [60, 60, 60, 90, 5])
    for lengths in edges:
        for drop_last in (False, True):
            yield PlanRequest(list(lengths), 100, drop_last=drop_last)
    for allow in (True, False):
        yield PlanRequest([40, 130, 60, 250, 10], 100, allow_single_long=allow)
        yield PlanRequest([120, 100, 30, 99, 101], 100, allow_single_long=allow)
    for n in (5, 11, 23):
        lengths = [rng.randint(1, 110) for _ in range(n)]
        for drop_last in (False, True):
            yield PlanRequest(lengths, 100, min_fill_ratio=0.8, drop_last=drop_last)
    yield PlanRequest(realistic_lengths(rng, 200), GLOBAL_MAX_LENGTH, drop_last=True)


def stream_requests(rng: random.Random) -> Iterator[StreamRequest]:
    """Dynamic packing with buffers smaller and larger than the dataset."""
    yield StreamRequest([30, 20, 50, 100, 7], 100, buffer_size=2)
    yield StreamRequest([10, 20, 90, 55, 30, 61, 5, 44, 70, 33, 21, 9], 100, buffer_size=4, min_fill_ratio=0.8)
    for allow in (True, False):
        yield StreamRequest([40, 130, 60, 250, 10], 100, buffer_size=8, allow_single_long=allow)
    for n, size in ((12, 4), (25, 8), (25, 64)):
        lengths = [rng.randint(1, 99) for _ in range(n)]
        for drop_last in (False, True):
            yield StreamRequest(lengths, 100, buffer_size=size, min_fill_ratio=0.8, drop_last=drop_last)


def drain_requests(rng: random.Random) -> Iterator[DrainRequest]:
    """Rollout segments that fit one by one."""
    yield DrainRequest([5, 3, 3, 2], 10)
    yield DrainRequest([10, 10], 10)
    yield DrainRequest([1], 10, buffer_cap=1)
    yield DrainRequest([6, 5, 5, 4], 10)
    for n in (6, 17, 32):
        yield DrainRequest([rng.randint(200, 4000) for _ in range(n)], GLOBAL_MAX_LENGTH, buffer_cap=256)


def small_buffers(capacity: int, most: int) -> list[list[int]]:
    """Every buffer of up to `most` segments with lengths from 1 to `capacity`."""
    sizes = range(1, capacity + 1)
    return [list(b) for n in range(1, most + 1) for b in itertools.product(sizes, repeat=n)]


def samples() -> list[Sample]:
    """Eight chat samples: no, one and two pictures, equal and different sizes, one and several turns, coordinates."""
    square = [Picture(64, 64, n) for n in range(4)]
    wide, tall = Picture(128, 96, 4), Picture(64, 128, 5)
    shelf = ("user", "<image>What is on the shelf?")
    return [
        Sample([TASK, ("user", "<image>What is here?"), ("assistant", _objects("red cup", 3))], [square[0]]),
        Sample([("user", "Is it blue?"), ("assistant", "Mostly."), ("user", "At night?"), ("assistant", "No.")]),
        Sample([TASK, shelf, ("assistant", _objects("t-shirt.", 8))], [square[1]]),
        Sample([("user", "<image><image>Which is larger?"), ("assistant", "The second.")], [square[2], wide]),
        Sample([TASK, ("user", "Nothing to see here."), ("assistant", '{"objects": []}')]),
        Sample([("user", "Look: <image> and tell."), ("assistant", _objects("Straße, 街", 1))], [tall]),
        Sample(
            [("user", "<image>First?"), ("assistant", "A."), ("user", "<image>Second?"), ("assistant", "B.")],
            [square[3], wide],
        ),
        Sample([TASK, ("user", "<image>Everything, please."), ("assistant", _objects("tile", 20))], [wide]),
    ]


def _objects(desc: str, count: int) -> str:
    """An assistant's CoordJSON text with `count` boxes."""
    boxes = [", ".join(f"<|coord_{(97 * k + 31 * j) % 1000}|>" for j in range(4)) for k in range(count)]
    return '{"objects": [' + ", ".join(f'{{"desc": "{desc}", "bbox_2d": [{b}]}}' for b in boxes) + "]}"


def batch_requests() -> list[tuple[str, BatchRequest]]:
    """Named cases: several packs, one text-only pack, a padded pack, and the trainer's own path."""
    every = samples()
    return [
        ("dataset packs", BatchRequest(every, 700)),
        ("text only", BatchRequest([every[1], every[4]], 400)),
        ("padded", BatchRequest([every[0], every[1], every[3]], 400, padding_to=320)),
        ("post-rollout packs", BatchRequest(every[::-1], 600, path="post_rollout")),
    ]


def forward_requests() -> list[tuple[str, ForwardRequest]]:
    """Short samples with no, one and two pictures, in two packs each; for both trainers, under both kernels."""
    square, wide = [Picture(64, 64, n) for n in range(2)], Picture(128, 96, 4)
    every = [
        Sample([("user", "<image>What is here?"), ("assistant", _objects("cup", 1))], [square[0]]),
        Sample([("user", "Is it blue?"), ("assistant", "Mostly.")]),
        Sample([("user", "<image><image>Which is larger?"), ("assistant", "The second.")], [square[1], wide]),
        Sample([("user", "Name all."), ("assistant", _objects("t-shirt.", 1))]),
    ]
    several = Sample(
        [("user", "Red?"), ("assistant", "No."), ("user", "<image>And this?"), ("assistant", "Yes.")], [wide]
    )
    paths = (("dataset packs", "dataset", [*every, several]), ("post-rollout packs", "post_rollout", every))
    kernels: tuple[Attention, ...] = ("varlen", "sdpa")
    return [(n, ForwardRequest(chosen, 130, path=p, attention=a)) for n, p, chosen in paths for a in kernels]


def pictured_samples() -> list[Sample]:
    """Short samples with pictures large enough that their grids show in the positions."""
    wide, tall, square = Picture(320, 192, 7), Picture(128, 256, 8), Picture(192, 192, 9)
    return [
        Sample([("user", "<image>What is here?"), ("assistant", "A cup.")], [wide]),
        Sample([("user", "Is it blue?"), ("assistant", "Mostly, and it has a handle.")]),
        Sample([("user", "<image><image>Which is larger?"), ("assistant", "The second.")], [tall, square]),
    ]
