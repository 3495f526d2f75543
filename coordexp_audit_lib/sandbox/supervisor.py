"""The supervisor: stands between the audit and a worker, and lets nothing that the worker started outlive it.

Started by path with the audit's own interpreter: `python -I supervisor.py ORDERS`, where ORDERS is a JSON object, or
forked with its worker by a fork server (`sandbox/forking.py`), which has a supervisor of its own above it. It makes
itself the one to whom orphans below it fall (`PR_SET_CHILD_SUBREAPER`), so a child that leaves its session or
forks twice is still found. It ends, with everything below it, when the worker ends, when the audit says so or is gone,
or when the processes together use too much memory or are too many. Then it removes the scratch and says on stdout, as
one JSON line, how the worker ended. Standard library only. Without `/proc` (not Linux) it kills the worker's process
group instead.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

if __package__:
    from coordexp_audit_lib.sandbox import cgroups, walls
else:
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    import cgroups  # type: ignore[no-redef]
    import walls  # type: ignore[no-redef]

SET_PDEATHSIG, SET_CHILD_SUBREAPER = 1, 36
LINUX = sys.platform == "linux"
PAGE = os.sysconf("SC_PAGE_SIZE")
TICK, SLOW_TICK = 0.2, 0.5
PATIENCE = 20.0
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE)


class Process(NamedTuple):
    """A line of /proc: its parent, its state (Z: dead, not reaped) and its resident memory in bytes."""

    parent: int
    state: str
    memory: int


def processes(names: Iterable[str] = ()) -> dict[int, Process]:
    """Of the processes with these ids, by default of all that can be seen, those that there are."""
    found = {}
    for name in names or (os.listdir("/proc") if LINUX else ()):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                # The command stands in parentheses and may hold anything: count from the last one.
                fields = file.read().rpartition(b")")[2].split()
                found[int(name)] = Process(int(fields[1]), fields[0].decode(), int(fields[21]) * PAGE)
    return found


def looked_over(root: int) -> dict[int, Process]:
    """`below`, by the kernel's lists of children: cheap on a machine with many processes, but one that comes or goes
    meanwhile can hide another. For what is looked at again soon."""
    if not os.path.exists(f"/proc/{root}/task/{root}/children"):
        return below(root)
    found, waiting = {}, [root]
    while waiting:
        pid, names = waiting.pop(), list[str]()
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                    names += file.read().split()
        children = processes(names) if names else {}
        waiting += children
        found.update({child: process for child, process in children.items() if process.state != "Z"})
    return found


def below(root: int) -> dict[int, Process]:
    """The living descendants of a process."""
    everyone = processes()
    children: dict[int, list[int]] = {}
    for pid, process in everyone.items():
        children.setdefault(process.parent, []).append(pid)
    found, waiting = {}, [root]
    while waiting:
        for pid in children.get(waiting.pop(), ()):
            waiting.append(pid)
            if everyone[pid].state != "Z":
                found[pid] = everyone[pid]
    return found


def reap(worker: int) -> int | None:
    """Collect the dead; the worker's wait status if it is among them."""
    status = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, ended = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == worker:
                status = ended
    return status


def kill(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def end_all(worker: int, status: int | None) -> tuple[int | None, int]:
    """Kill everything below until nothing is left. Returns the worker's status and how many it left behind."""
    left: set[int] = set()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if not LINUX and status is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(worker, signal.SIGKILL)
        living = below(os.getpid())
        left |= living.keys() - {worker}
        kill(list(living), signal.SIGSTOP)  # first stop them all, so that none can fork away from the second pass
        kill(list(living), signal.SIGKILL)
        ended = reap(worker)
        status = ended if status is None else status
        if not living and (LINUX or status is not None):
            break
        time.sleep(0.005)
    return status, len(left)


def stored(folder: str) -> int:
    """Bytes that the files below a folder take."""
    total, folders = 0, [folder]
    while folders:
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
    return total


def unlinked(pids: Iterable[int]) -> int:
    """Bytes of the files that processes hold open and that have no name any more."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    status = os.stat(f"/proc/{pid}/fd/{name}")
                    if status.st_nlink == 0 and stat.S_ISREG(status.st_mode):
                        found[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(found.values())


def excess(orders: dict[str, Any], living: dict[int, Process]) -> str:
    """Why the living processes below are too much to go on, or an empty text."""
    if stored(orders["scratch"]) + unlinked(living) > orders["disk"]:
        return f"it stored more than {orders['disk']} bytes"
    if len(living) > orders["processes"]:
        return f"it ran more than {orders['processes']} processes"
    if sum(p.memory for p in living.values()) > orders["memory"]:
        return f"it used more than {orders['memory']} bytes of memory"
    return ""


def limited(orders: dict[str, Any], parent: int) -> Callable[[], None]:
    """What the worker's process does before it becomes the worker: its limits, its walls, to die with its supervisor.

    A fork server itself, which runs nothing of the tree's, is left the calls by which it walls in what it forks.
    """
    writable, forks = [orders["scratch"], *orders.get("writable", ())], bool(orders.get("forks"))

    def prepare() -> None:
        for number in IGNORED:
            signal.signal(number, signal.SIG_DFL)
        for name, value in orders["rlimits"].items():
            limit = getattr(resource, name, None)
            if limit is not None:
                hard = resource.getrlimit(limit)[1]
                most = value if hard == resource.RLIM_INFINITY else min(value, hard)
                with contextlib.suppress(ValueError, OSError):
                    resource.setrlimit(limit, (most, most))
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # if the machine runs out of memory, the worker is the one to go
        if cgroups.joined(orders.get("groups", [])):
            walls.stand([walls.GROUP])
        inside, home = walls.NETWORK in walls.standing(), orders.get("home", "")
        before = os.getpid()
        walls.stand(walls.enclose(writable, home, parent=parent, inside=inside, forks=forks))
        walls.control(SET_PDEATHSIG, signal.SIGKILL)  # not before: it is lost where capabilities change
        if os.getpid() == before and os.getppid() != parent:
            os._exit(1)
        if walls.control(walls.SET_NO_NEW_PRIVS, 1):
            walls.stand([walls.PRIVILEGES])
        if not (forks and walls.MOUNTS in walls.standing()) and walls.confine([*writable, *walls.DEVICES]):
            walls.stand([walls.WRITES])
        if not forks and walls.filter_calls():
            walls.stand([walls.CALLS])

    return prepare


def end_strays(worker: int, living: dict[int, Process]) -> None:
    """Kill what fell to a fork server's supervisor because one of the supervisors below was killed."""
    kill([pid for pid, process in living.items() if process.parent == os.getpid() and pid != worker], signal.SIGKILL)


def keepers(worker: int, living: dict[int, Process]) -> set[int]:
    """Of the living, those that only wait for a worker in a PID namespace of its own: this child of ours, and its."""
    with contextlib.suppress(OSError):
        own, children = (os.readlink(f"/proc/{worker}/ns/{name}") for name in ("pid", "pid_for_children"))
        if own != children:
            return {worker, *(pid for pid, process in living.items() if process.parent == worker)}
    return set()


def watch(worker: int, lifeline: int, wakeup: int, orders: dict[str, Any]) -> tuple[str, int | None]:
    """Wait until there is a reason to end. Returns the reason and, if the worker ended by itself, its status."""
    often = SLOW_TICK if orders.get("forks") else TICK  # those below look after their workers themselves
    parent, poll, tick = os.getppid(), select.poll(), often
    for fd in (lifeline, wakeup):
        poll.register(fd, select.POLLIN)
    while True:
        ready = dict(poll.poll(tick * 1000))
        if wakeup in ready:
            os.read(wakeup, 4096)
            status = reap(worker)
            if status is not None:
                return "", status
        if lifeline in ready or os.getppid() != parent:
            return "stopped", None
        started = time.monotonic()
        living = looked_over(os.getpid())
        living = {pid: p for pid, p in living.items() if pid not in keepers(worker, living)}
        if orders.get("forks"):
            end_strays(worker, living)
        reason = excess(orders, living)
        if reason:
            return reason, None
        tick = max(often, 20 * (time.monotonic() - started))  # at most a twentieth of a core


def describe(status: int | None) -> str:
    """How a process ended, from its wait status."""
    if status is None:
        return "it could not be ended"
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"it ended with exit status {code}"
    with contextlib.suppress(ValueError):
        return f"it was ended by {signal.Signals(-code).name}"
    return f"it was ended by signal {-code}"


def spawned(orders: dict[str, Any]) -> int:
    """Start the worker's command; its process id."""
    process = subprocess.Popen(
        orders["command"],
        stdin=subprocess.DEVNULL,
        stdout=2,
        pass_fds=orders["pipes"],
        start_new_session=True,
        preexec_fn=limited(orders, os.getpid()),  # noqa: PLW1509  there is one thread only
    )
    process.returncode = 0  # reaped here, not by subprocess
    return process.pid


def supervise(orders: dict[str, Any], start: Callable[[dict[str, Any]], int] = spawned) -> dict[str, Any]:
    """Run the worker to its end; what there is to say about it."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    walls.control(SET_CHILD_SUBREAPER, 1)
    wakeup, ring = os.pipe()
    os.set_blocking(ring, False)
    signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    os.set_inheritable(orders["lifeline"], False)
    orders["private"] = [orders["lifeline"], wakeup, ring]
    orders["groups"] = cgroups.made(orders["memory"], orders["processes"])
    try:
        return _supervised(orders, start, wakeup)
    finally:
        cgroups.removed(orders["groups"])


def _supervised(orders: dict[str, Any], start: Callable[[dict[str, Any]], int], wakeup: int) -> dict[str, Any]:
    try:
        worker = start(orders)
    except (OSError, subprocess.SubprocessError) as error:
        return {"reason": f"it cannot be started: {error}", "left": 0}
    for fd in orders["pipes"]:
        os.close(fd)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # so that the audit sees when the worker's own pipes close
    reason, status = watch(worker, orders["lifeline"], wakeup, orders)
    status, left = end_all(worker, status)
    if cgroups.killed(orders["groups"]):
        reason = reason or f"it used more than {orders['memory']} bytes of memory"
    return {"reason": reason or describe(status), "left": left}


def remove(folder: str) -> None:
    """Remove the scratch, also where the worker took rights away or nested it deeper than Python can follow."""
    for command in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
        if os.path.isdir(folder):
            with contextlib.suppress(OSError):
                subprocess.run([*command, "--", folder], stderr=subprocess.DEVNULL, check=False)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    said = supervise(given)
    remove(given["scratch"])
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(said).encode())
