"""Work over many processes, here or on a Dask cluster, with results by number: whoever does it, in whatever order, and
whoever is killed over it. Imports only the standard library; `distributed` where a scheduler is named."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")
Tell = Callable[..., None]
TRIES = 4  # after which what kills its worker is given up
CONNECT_SECONDS = 10
SAID, DONE, FAILED = "said", "done", "failed"
SET_PDEATHSIG = 1


class Lost(Exception):
    """A task killed its worker each time that it was tried; `number` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(f"task {number} killed its worker {TRIES} times")
        self.number = number


class Unreachable(Exception):
    """There is no scheduler at the address, or `distributed` is not installed."""


def spread(
    work: Callable[..., R], tasks: Sequence[Any], jobs: int = 1, scheduler: str = "", heard: Tell | None = None
) -> Iterator[tuple[int, R]]:
    """Do `work` on each task; yields the number of each with its result, as they are done.

    Args:
        work: for processes of this machine anything that can be called, for they are forked from this one; for a
            scheduler a function of a module, so that it can be sent. jobs: processes here; with 1, this one.
        scheduler: the address of a Dask scheduler (`tcp://host:8786`), whose workers have this package installed.
        heard: is told what `work` says meanwhile: it is then given a function to say it with beside the task. From a
            cluster nothing is heard.

    Raises:
        Lost, Unreachable, and whatever `work` raises.
    """
    if scheduler:
        yield from _on_cluster(work, tasks, scheduler)
    elif jobs > 1 and len(tasks) > 1:
        yield from _on_cores(work, tasks, min(jobs, len(tasks)), heard)
    else:
        for number, task in enumerate(tasks):
            yield number, work(task, heard) if heard else work(task)


def _on_cores(work: Callable[..., R], tasks: Sequence[Any], jobs: int, heard: Tell | None) -> Iterator[tuple[int, R]]:
    """In processes forked from this one, in the tasks' order, the next one to whoever is done. What a process was at
    when it was killed is done again by a new one."""
    waiting, tries = deque(range(len(tasks))), [0] * len(tasks)
    running: dict[Connection, tuple[Any, int]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                ours, process = _forked(work, tasks, heard is not None)
                running[ours] = process, waiting.popleft()
                _send(ours, running[ours][1])
            for ours in cast(list[Connection], wait(list(running))):
                process, number = running[ours]
                said = _received(ours)
                if said is None:
                    tries[number] += 1
                    if tries[number] >= TRIES:
                        raise Lost(number)
                    waiting.appendleft(number)
                    _ended(ours, running.pop(ours)[0])
                elif said[0] == SAID:
                    cast(Tell, heard)(*said[1])
                elif said[0] == FAILED:
                    raise said[1]
                else:
                    if waiting:
                        running[ours] = process, waiting.popleft()
                        _send(ours, running[ours][1])
                    else:
                        _ended(ours, running.pop(ours)[0])
                    yield number, said[1]
    finally:
        for ours, (process, _) in running.items():
            _ended(ours, process)


def _forked(work: Callable[..., Any], tasks: Sequence[Any], aloud: bool) -> tuple[Connection, Any]:
    forks = multiprocessing.get_context("fork")
    ours, theirs = forks.Pipe()
    process = forks.Process(target=_serve, args=(ours, theirs, work, tasks, aloud), daemon=True)
    process.start()
    theirs.close()  # so that its end is told when the process ends
    return ours, process


def _send(ours: Connection, number: int) -> None:
    with contextlib.suppress(OSError):  # it is gone: that is told when it is listened to
        ours.send(number)


def _received(ours: Connection) -> Any:
    """What a process says; None where it was killed, be it in the middle of a message."""
    try:
        return ours.recv()
    except (EOFError, OSError):
        return None


def _ended(ours: Connection, process: Any) -> None:
    ours.close()
    process.terminate()
    process.join()


def _serve(ours: Connection, theirs: Connection, work: Callable[..., Any], tasks: Sequence[Any], aloud: bool) -> None:
    """Do the tasks that are named through the pipe, until this process is ended."""
    parent = os.getppid()
    ours.close()
    bind_to_parent()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)

    def tell(*words: Any) -> None:
        if os.getppid() != parent:
            os._exit(1)
        theirs.send((SAID, words))

    with contextlib.suppress(EOFError):
        while True:
            number = theirs.recv()
            try:
                result = work(tasks[number], tell) if aloud else work(tasks[number])
            except Exception as error:
                theirs.send((FAILED, _sendable(error)))
            else:
                theirs.send((DONE, result))


def _sendable(error: Exception) -> Exception:
    """The error itself, or what it says where it can't be sent."""
    import pickle

    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception_only(error)).strip())
    return error


def bind_to_parent() -> None:
    """From here on this process ends with the one that started it (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _on_cluster(work: Callable[[Any], R], tasks: Sequence[Any], scheduler: str) -> Iterator[tuple[int, R]]:
    """By the workers of a Dask scheduler, which does again elsewhere what a killed one did not finish."""
    try:
        import distributed
    except ImportError as error:
        raise Unreachable("distributed is not installed") from error
    try:
        made: Any = distributed
        client = made.Client(scheduler, timeout=CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        raise Unreachable(str(error) or type(error).__name__) from error
    with client:
        futures = {client.submit(work, task, pure=False): n for n, task in enumerate(tasks)}
        for future in made.as_completed(list(futures)):
            try:
                result = future.result()
            except distributed.scheduler.KilledWorker:
                raise Lost(futures[future]) from None
            yield futures[future], result
