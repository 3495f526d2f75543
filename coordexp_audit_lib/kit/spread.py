"""Work over many processes, here or on a Dask cluster, with results by number: whoever does it, in whatever order, and
whoever is killed over it. Imports only the standard library; `distributed` where a scheduler is named."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
SHARED, TRIES = 2, 4  # after which it is tried in a process of its own; after which what kills its worker is given up
CONNECT_SECONDS = 10


class Lost(Exception):
    """A task killed its worker each time that it was tried; `number` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(f"task {number} killed its worker {TRIES} times")
        self.number = number


class Unreachable(Exception):
    """There is no scheduler at the address, or `distributed` is not installed."""


def spread(work: Callable[[T], R], tasks: Sequence[T], jobs: int = 1, scheduler: str = "") -> Iterator[tuple[int, R]]:
    """Do `work` on each task; yields the number of each with its result, as they are done.

    Args:
        work: a function of a module, so that it can be sent. jobs: processes here; with 1, this one.
        scheduler: the address of a Dask scheduler (`tcp://host:8786`), whose workers have this package installed.

    Raises:
        Lost, Unreachable, and whatever `work` raises.
    """
    if scheduler:
        yield from _on_cluster(work, tasks, scheduler)
    elif jobs > 1 and len(tasks) > 1:
        yield from _on_cores(work, tasks, min(jobs, len(tasks)))
    else:
        for number, task in enumerate(tasks):
            yield number, work(task)


def _on_cores(work: Callable[[T], R], tasks: Sequence[T], jobs: int) -> Iterator[tuple[int, R]]:
    """In processes forked from this one. One that is killed takes the others' pool along: what was not done then is
    done by a new one, a task at a time once it is not clear which of them kills."""
    left = dict(enumerate(tasks))
    tries = dict.fromkeys(left, 0)
    while left:
        shared = max(tries[n] for n in left) < SHARED
        chosen = left if shared else {min(left, key=lambda n: (-tries[n], n)): None}
        with ProcessPoolExecutor(jobs if shared else 1, multiprocessing.get_context("fork")) as pool:
            futures: dict[Future[R], int] = {pool.submit(work, tasks[n]): n for n in chosen}
            for future in as_completed(futures):
                number = futures[future]
                try:
                    result = future.result()
                except BrokenProcessPool:
                    tries[number] += 1
                    if tries[number] >= TRIES:
                        raise Lost(number) from None
                    continue
                del left[number]
                yield number, result


def _on_cluster(work: Callable[[T], R], tasks: Sequence[T], scheduler: str) -> Iterator[tuple[int, R]]:
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
