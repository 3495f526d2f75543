"""Ranks of a gloo group on loopback, forked from the worker once everything is imported: imports cost ten seconds each.

A rank answers through a pipe. One that raises, hangs or dies is named, and none outlives the call. Standard library
only at import time.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from coordexp_audit_lib.kit import stand_ins

SECONDS = 100.0
GRACE = 2.0


class RankFailed(Exception):
    """A rank did not answer; the message names it and its error. `kind` is the type of what was raised first."""

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class Rank:
    """A process that runs `body()` and sends what it returns. status: how it ended, None if it had to be killed."""

    def __init__(self, body: Callable[[], dict[str, Any]]) -> None:
        self.fd, told = os.pipe()
        self.data = b""
        self.status: int | None = None
        self.pid = os.fork()
        if self.pid:
            os.close(told)
            return
        code = 1
        try:
            os.close(self.fd)
            answer = body()
            with os.fdopen(told, "wb") as pipe:
                pipe.write(json.dumps({"answer": answer, "stand_ins": list(stand_ins.USED.values())}).encode())
            code = int("error" in answer)
        finally:
            os._exit(code)  # whatever happens, the child must not go on as a second worker

    @property
    def answer(self) -> Any:
        if self.status is None or not self.data:
            return None
        told = json.loads(self.data)
        for one in told["stand_ins"]:
            stand_ins.used(*one)
        return told["answer"]


def collected(ranks: Sequence[Rank], seconds: float, grace: float | None = None) -> Sequence[Rank]:
    """Wait for the ranks, no longer than `grace` after one of them failed; those that go on are killed."""
    deadline = time.monotonic() + seconds
    waiting = {rank.fd: rank for rank in ranks}
    try:
        while waiting and time.monotonic() < deadline:
            for fd in select.select(list(waiting), [], [], 0.1)[0]:
                part = os.read(fd, 1 << 16)
                waiting[fd].data += part
                if part:
                    continue
                rank = waiting.pop(fd)
                rank.status = os.waitpid(rank.pid, 0)[1]
                if rank.status and grace is not None:  # the others wait for it in vain
                    deadline = min(deadline, time.monotonic() + grace)
    finally:
        for rank in waiting.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(rank.pid, signal.SIGKILL)
            os.waitpid(rank.pid, 0)
        for rank in ranks:
            os.close(rank.fd)
    return ranks


def join(rank: int, size: int, folder: str, seconds: float) -> Any:
    """Join the group that meets in the folder."""
    from datetime import timedelta

    import torch.distributed as dist

    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    meeting = "file://" + os.path.join(folder, "meeting")
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=size, timeout=timedelta(seconds=seconds))
    return dist


def on_ranks(here: Any, size: int, function: Callable[[int], Any]) -> list[Any]:
    """`function(rank)` on `size` ranks of one group; their JSON answers in rank order.

    Raises:
        RankFailed: a rank raised, died or was not done in time; the message says it of each, the first error first.
    """

    def body(rank: int, folder: str) -> dict[str, Any]:
        try:
            dist = join(rank, size, folder, SECONDS / 2)
            value = function(rank)
            dist.barrier()
            return {"value": value}
        except BaseException as error:
            return {"error": [time.time(), rank, type(error).__name__, str(error)[:2000]]}

    with tempfile.TemporaryDirectory(dir=here.scratch) as folder:
        ranks = collected([Rank(functools.partial(body, r, folder)) for r in range(size)], SECONDS, GRACE)
    answers = [rank.answer or {} for rank in ranks]
    if all("value" in a for a in answers):
        return [a["value"] for a in answers]
    errors = sorted(a["error"] for a in answers if "error" in a)
    told = ["rank %d: %s: %s" % (rank, kind, message) for _, rank, kind, message in errors]
    for number, rank in enumerate(ranks):
        if not rank.answer:
            how = "was not done in time" if rank.status is None else "died (status %d)" % rank.status
            told.append("rank %d %s" % (number, how))
    raise RankFailed("; ".join(told), errors[0][2] if errors else "")
