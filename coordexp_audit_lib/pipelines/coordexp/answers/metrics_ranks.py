"""Run a function on two real gloo ranks: children of this worker, forked once everything is imported.

Imports cost ten seconds a process, so the ranks inherit them. A rank answers through a file; one that raises, hangs or
dies is named, and none outlives the call.
"""

import json
import os
import shutil
import signal
import tempfile
import time

SECONDS = 100.0


class RankFailed(Exception):
    """A rank did not answer; the message names it and its error. `kind` is the type of what was raised first."""

    def __init__(self, message, kind=""):
        super().__init__(message)
        self.kind = kind


def on_ranks(here, size, function):
    """`function(rank)` on `size` ranks of one gloo group; their JSON answers in rank order.

    Raises:
        RankFailed: a rank raised, died or was not done in time; the message says it of each.
    """
    folder = tempfile.mkdtemp(dir=here.scratch)
    children = {}
    try:
        for rank in range(size):
            pid = os.fork()
            if pid == 0:
                _rank(folder, rank, size, function)
            children[pid] = rank
        died = _wait(children)
        return _answers(folder, size, died)
    finally:
        for pid in children:
            _end(pid)
        shutil.rmtree(folder, ignore_errors=True)


def _rank(folder, rank, size, function):
    """The child: never returns."""
    code = 1
    try:
        from datetime import timedelta

        import torch.distributed as dist

        store = "file://" + os.path.join(folder, "store")
        dist.init_process_group(
            "gloo", init_method=store, rank=rank, world_size=size, timeout=timedelta(seconds=SECONDS / 2)
        )
        answer = {"value": function(rank)}
        dist.barrier()
        code = 0
    except BaseException as error:
        answer = {"error": [type(error).__name__, str(error)[:2000], time.time()]}
    try:
        with open(os.path.join(folder, "answer%d.tmp" % rank), "w", encoding="utf-8") as file:
            json.dump(answer, file)
        os.replace(file.name, os.path.join(folder, "answer%d" % rank))
    finally:
        os._exit(code)  # whatever happens, the child must not go on as a second worker


def _wait(children):
    """Wait for the ranks, not long after one of them failed; which ended by themselves without success, with status."""
    deadline, died = time.monotonic() + SECONDS, {}
    while children and time.monotonic() < deadline:
        for pid in list(children):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                rank = children.pop(pid)
                if status:  # the others wait for it in vain
                    died[rank] = status
                    deadline = min(deadline, time.monotonic() + 2.0)
        time.sleep(0.01)
    return died


def _end(pid):
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def _answers(folder, size, died):
    """The ranks' values, or what became of each rank: the first error first."""
    values, errors, silent = [], [], []
    for rank in range(size):
        path = os.path.join(folder, "answer%d" % rank)
        if not os.path.exists(path):
            how = "died (status %d)" % died[rank] if rank in died else "was not done in time"
            silent.append("rank %d %s" % (rank, how))
            continue
        with open(path, encoding="utf-8") as file:
            got = json.load(file)
        if "error" in got:
            errors.append((got["error"][2], rank, got["error"][0], got["error"][1]))
        else:
            values.append(got["value"])
    if not errors and not silent:
        return values
    told = ["rank %d: %s: %s" % (rank, kind, message) for _, rank, kind, message in sorted(errors)]
    raise RankFailed("; ".join(told + silent), sorted(errors)[0][2] if errors else "")
