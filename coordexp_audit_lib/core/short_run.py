"""A short run of training, which several boundaries ask an adapter about. One run answers them all."""

from __future__ import annotations

from typing import Any

import msgspec

WORDS = ("a cup", "a red jar", "a wide bowl", "a tile", "two plates", "a lamp", "a long shelf of books")


class ShortRun(msgspec.Struct, frozen=True):
    """Train a small model by the pipeline's own trainer, on chats of text.

    chats: of (role, text) turns, one sample each, unpacked. epochs. accumulation: micro-steps of one sample in an
    optimizer step. workers: of the data loader. evaluate: on the first chats, after each epoch. resume_after: optimizer
    steps after which the run is stopped, and goes on from its checkpoint; 0 for one without a break. seed. repeat: asks
    for the same run again.
    """

    chats: list[list[tuple[str, str]]]
    epochs: int = 2
    accumulation: int = 2
    workers: int = 0
    evaluate: bool = True
    resume_after: int = 0
    seed: int = 42
    repeat: int = 0


def short_run(**changes: Any) -> ShortRun:
    """Seven chats of one to seven things: four optimizer steps an epoch, of which the last has one micro-step."""
    chats = [[("user", f"Name {n} things."), ("assistant", ", ".join(WORDS[:n]) + ".")] for n in range(1, 8)]
    return ShortRun(chats, **changes)
