"""Processes that a worker started: those still running after an answer, and those that outlive a killed supervisor."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from coordexp_audit_lib.sandbox.limits import TOKEN

GRACE_SECONDS = 0.5
SWEEP_SECONDS = 10.0
OURS = b"multiprocessing.resource_tracker"  # Python's own, which stays as long as the process it serves


def left_running(supervisor: int, worker: int) -> int:
    """How many living children the worker has, and orphans of its; they get a moment to end.

    Zero where the kernel does not list children (then they are found when the worker ends).
    """
    deadline = time.monotonic() + GRACE_SECONDS
    between = _above(worker, supervisor)
    while worker:  # not known before its first answer
        found = [pid for one in (supervisor, *between, worker) for pid in _children(one)]
        extra = [pid for pid in found if pid not in (worker, *between) and _lives(pid)]
        if not extra or time.monotonic() > deadline:
            return len(extra)
        time.sleep(0.01)
    return 0


def _above(worker: int, supervisor: int) -> list[int]:
    """The processes between the two, of a worker in a PID namespace of its own."""
    found: list[int] = []
    with contextlib.suppress(OSError, IndexError, ValueError):
        while worker and len(found) < 3:
            worker = int(Path(f"/proc/{worker}/stat").read_bytes().rpartition(b")")[2].split()[1])
            if worker == supervisor:
                return found
            found.append(worker)
    return []


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (thread / "children").read_bytes().split())
    return found


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
        return state != b"Z" and OURS not in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, IndexError):
        return False


def sweep(token: str, base: Path) -> None:
    """Kill every process that carries the worker's token or stands in its scratch, until there is none."""
    deadline = time.monotonic() + SWEEP_SECONDS
    while time.monotonic() < deadline:
        marked = [pid for pid in _all() if _marked(pid, f"{TOKEN}={token}".encode(), base)]
        if not marked:
            return
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in marked:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
        time.sleep(0.01)


def _all() -> list[int]:
    own = os.getpid()
    try:
        return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and int(p.name) != own]
    except OSError:
        return []


def _marked(pid: int, mark: bytes, base: Path) -> bool:
    with contextlib.suppress(OSError):
        if mark in Path(f"/proc/{pid}/environ").read_bytes():
            return True
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cwd").readlink().is_relative_to(base)
    return False
