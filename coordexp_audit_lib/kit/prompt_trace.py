"""A sequence of token ids, told so that it can be compared but not read. Standard library only, Python 3.10 and later:
a target's interpreter makes traces with this file."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Trace:
    """length: in tokens. digest: of all ids (16 hex digits of sha256): equality. marks: two hex digits for each token,
    of that token and all before it; so the first mark that differs is at the first token that does (in one case of 256
    at the next), while a mark leaves some 590 tokens to choose from.
    """

    length: int
    digest: str
    marks: str


def trace(ids: Sequence[int]) -> Trace:
    """The trace of token ids [n]."""
    running = hashlib.sha256()
    marks = []
    for token in ids:
        running.update(b"%d," % token)
        marks.append(running.hexdigest()[:2])
    return Trace(len(marks), running.hexdigest()[:16], "".join(marks))


def first_difference(one: Trace, other: Trace) -> int | None:
    """The 0-based index of the first token at which two sequences differ; null if they are equal."""
    if (one.length, one.digest) == (other.length, other.digest):
        return None
    shorter = min(one.length, other.length)
    for i in range(shorter):
        if one.marks[2 * i : 2 * i + 2] != other.marks[2 * i : 2 * i + 2]:
            return i
    return shorter
