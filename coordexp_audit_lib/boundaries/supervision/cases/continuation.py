"""Answers of which the first objects are given and others are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from coordexp_audit_lib.boundaries.supervision.surfaces import Thing
from coordexp_audit_lib.kit.coordjson import Order

THINGS = [
    Thing("cat", [10, 20, 300, 400]),
    Thing("cat", [10, 25, 310, 420]),
    Thing("traffic light", [500, 5, 540, 90]),
    Thing('no. 1, "red"', [0, 0, 999, 999]),
    Thing("cat", [10, 20, 300, 400]),
]
DIVISIONS: tuple[tuple[list[int], list[int]], ...] = (
    ([], [0]),
    ([], [2, 0, 1]),
    ([0], [1, 2]),
    ([2, 3], [0]),
    ([3], [2, 4, 0]),
    ([1, 0, 2], []),
    ([0], [4]),
)
ORDERS: tuple[Order, ...] = ("desc_first", "geometry_first")


class Divided(NamedTuple):
    """things: the objects of one answer; given, asked: their places in it, in the order in which they stand there."""

    things: list[Thing]
    given: list[int]
    asked: list[int]
    order: Order

    def descs(self, places: Sequence[int]) -> list[str]:
        return [self.things[k].desc for k in places]


def divided() -> Iterator[Divided]:
    """Each division in each order of an object's fields."""
    for order in ORDERS:
        for given, asked in DIVISIONS:
            there = sorted({*given, *asked})
            number = {k: n for n, k in enumerate(there)}
            chosen = [THINGS[k] for k in there]
            yield Divided(chosen, [number[k] for k in given], [number[k] for k in asked], order)
