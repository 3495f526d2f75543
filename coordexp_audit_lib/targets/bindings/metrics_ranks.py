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
import traceback

SECONDS = 100.0


class RankFailed(Exception):
    """A rank did not answer; the message names it and its error. `kind` is the type of what it raised, if it did."""

    def __init__(self, message, kind=""):
        super().__init__(message)
        self.kind = kind


def on_ranks(here, size, function):
    """`function(rank)` on `size` ranks of one gloo group; their JSON answers in rank order.

    Raises:
        RankFailed: a rank raised, died or was not done in time. The first that raised is named.
    """
    folder = tempfile.mkdtemp(dir=here.scratch)
    children = []
    try:
        for rank in range(size):
            pid = os.fork()
            if pid == 0:
                _rank(folder, rank, size, function)
            children.append(pid)
        _wait(children)
        return [_answer(folder, rank) for rank in range(size)]
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
        answer = {"error": [type(error).__name__, str(error)[:2000], traceback.format_exc()[-2000:], time.time()]}
    with open(os.path.join(folder, "answer%d.tmp" % rank), "w", encoding="utf-8") as file:
        json.dump(answer, file)
    os.replace(file.name, os.path.join(folder, "answer%d" % rank))
    os._exit(code)


def _wait(children):
    deadline, left = time.monotonic() + SECONDS, list(children)
    while left and time.monotonic() < deadline:
        for pid in list(left):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                left.remove(pid)
                children.remove(pid)
                if status:  # the others wait for it in vain
                    deadline = min(deadline, time.monotonic() + 2.0)
        time.sleep(0.01)


def _end(pid):
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def _answer(folder, rank):
    errors = []
    for name in sorted(os.listdir(folder)):
        if name.startswith("answer") and not name.endswith(".tmp"):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                got = json.load(file)
            if "error" in got:
                errors.append((got["error"][3], name, got["error"]))
            elif name == "answer%d" % rank:
                value = got["value"]
    if errors:
        _, name, (kind, message, _, _) = min(errors)
        raise RankFailed("rank %s: %s: %s" % (name[6:], kind, message), kind)
    if not os.path.exists(os.path.join(folder, "answer%d" % rank)):
        raise RankFailed("rank %d died or was not done in %d s" % (rank, SECONDS))
    return value
