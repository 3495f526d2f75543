"""A control group for a worker and all that it starts: the kernel counts their memory, shared and cached, and their
number, and holds them to the limit at once. Where the system gives none, the supervisor looks five times a second.

Standard library only, as the supervisor is; both versions of control groups. Outside Linux there is none.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time

LINUX = sys.platform == "linux"
NAME = "coordexp-audit-"
MEMORY, TASKS = "memory", "pids"
LIMITS = {MEMORY: ("memory.limit_in_bytes", "memory.max"), TASKS: ("pids.max", "pids.max")}  # of version 1 and 2
MORE = {"memory.swappiness": "0", "memory.swap.max": "0", "memory.oom.group": "0"}
SPARE = 512  # processes more than the limit at which the supervisor ends it: it is quicker to look than to start these


def made(memory: int, tasks: int) -> list[str]:
    """Groups with these limits, one for both or one for each, none that anybody is in yet; none where that can't be.

    A group that a killed supervisor left is removed on the way.
    """
    found: list[str] = []
    if not LINUX:
        return found
    for parent, controllers, version in _parents():
        folder = os.path.join(parent, f"{NAME}{os.getpid()}-{time.monotonic_ns():x}")
        try:
            _sweep(parent)
            os.mkdir(folder, 0o700)
        except OSError:
            continue
        try:
            for controller in controllers:
                most = memory if controller == MEMORY else tasks + SPARE
                _write(os.path.join(folder, LIMITS[controller][version - 1]), str(most))
        except OSError:
            removed([folder])
            continue
        for name, value in MORE.items():
            with contextlib.suppress(OSError):
                if os.path.exists(os.path.join(folder, name)):
                    _write(os.path.join(folder, name), value)
        found.append(folder)
        if version == 2:
            break
    return found


def joined(folders: list[str]) -> bool:
    """Put this process into the groups; whether memory is held to a limit then."""
    done = []
    for folder in folders:
        with contextlib.suppress(OSError):
            _write(os.path.join(folder, "cgroup.procs"), str(os.getpid()))
            done.append(folder)
    return any(os.path.exists(os.path.join(f, name)) for f in done for name in LIMITS[MEMORY])


def killed(folders: list[str]) -> bool:
    """Whether the kernel ended a process of the groups because of their memory."""
    for folder in folders:
        for name in ("memory.oom_control", "memory.events"):
            with contextlib.suppress(OSError), open(os.path.join(folder, name), encoding="ascii") as file:
                if any(line.split()[0] == "oom_kill" and line.split()[1] != "0" for line in file if " " in line):
                    return True
    return False


def removed(folders: list[str], seconds: float = 2.0) -> None:
    """Remove the groups, once all that was in them has ended."""
    end = time.monotonic() + seconds
    for folder in folders:
        while os.path.isdir(folder):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
                break
            if time.monotonic() > end:
                break
            time.sleep(0.01)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _parents() -> list[tuple[str, list[str], int]]:
    """Folders in which groups can be made, with what they count there and the version."""
    found: list[tuple[str, list[str], int]] = []
    with contextlib.suppress(OSError, ValueError):
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mounts = [line.split() for line in file]
        with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            own = [line.rstrip("\n").split(":", 2) for line in file]
        for fields in mounts:
            kind, options = fields[fields.index("-") + 1], fields[-1].split(",")
            for _, names, path in own:
                inner = os.path.relpath(path, fields[3])
                if inner.startswith(os.pardir):
                    continue
                folder = os.path.normpath(os.path.join(fields[4], inner))
                if kind == "cgroup2" and not names:
                    found += [(f, [MEMORY, TASKS], 2) for f in (folder, os.path.dirname(folder)) if _gives(f)]
                elif kind == "cgroup":
                    found += [(folder, [c], 1) for c in (MEMORY, TASKS) if c in names.split(",") and c in options]
    return found


def _gives(folder: str) -> bool:
    """Whether groups below a folder of version 2 are counted."""
    with contextlib.suppress(OSError), open(os.path.join(folder, "cgroup.subtree_control"), encoding="ascii") as file:
        return {MEMORY, TASKS} <= set(file.read().split())
    return False


def _sweep(parent: str) -> None:
    """Remove empty groups of supervisors that are gone."""
    for name in os.listdir(parent):
        maker = name.removeprefix(NAME).partition("-")[0]
        if name.startswith(NAME) and maker.isdigit() and not os.path.exists(f"/proc/{maker}"):
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(parent, name))
