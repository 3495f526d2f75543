"""The fork server's own side: a worker that is asked nothing, imports once what all need, and forks workers that are.

A worker that is forked begins where the server stands: imports, tokenizer and model are there. Each has a supervisor of
its own, forked with it, and so its own limits, process group, scratch, pipes and end; above them all stands the
server's supervisor, to whom falls what one of them loses. The server itself runs nothing of the tree's.

Standard library only, Python 3.10 and later: this runs in the target's interpreter.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import tempfile
import traceback

ORDER_BYTES = 1 << 16
FDS = 5  # those that an order comes with: to read, to write, to print, the lifeline, and what the supervisor says


def preload(tree, place, folder):
    """Import and build what all workers need, by `module:function` of ours, which gets the folder to write to; or, by
    `import name name …`, import these packages and call what stands there as `module:function`.

    The tree's own modules are not in reach meanwhile. Where this fails, each worker finds out for itself.
    """
    before = sys.path[:]
    sys.path[:] = [p for p in sys.path if p != tree]
    try:
        if place.startswith("import "):
            for name in place.split()[1:]:
                module, _, function = name.partition(":")
                known = importlib.import_module(module)
                if function:
                    getattr(known, function)()
        else:
            module, _, name = place.partition(":")
            getattr(importlib.import_module(module), name)(folder, shadowed(tree))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.path[:] = before
        importlib.invalidate_caches()
        gc.collect()
        gc.freeze()  # what is there now is never freed: collecting it would copy every page of it


def shadowed(tree):
    """The top-level names that the tree defines itself: in a worker they come before those of the environment."""
    return {os.path.splitext(name)[0] for name in os.listdir(tree)}


def fork(control, private, body):
    """Take an order from the socket and fork a supervisor with a worker that runs `body(read, write)`.

    private: descriptors of the server's that nobody below may have.
    """
    data, fds, _, _ = socket.recv_fds(control, ORDER_BYTES, FDS)
    while True:  # collect those that have ended
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                break
        except ChildProcessError:
            break
    server = os.getpid()
    if not data or os.fork():
        for fd in fds:
            os.close(fd)
        return
    try:
        for fd in (control.detach(), *private):
            os.close(fd)
        _supervised(json.loads(data), server, fds, body)
    finally:
        os._exit(0)  # whatever happens, a child must not go on as a second server


def _supervised(orders, server, fds, body):
    """What the supervisor does in its own process, from the first to the last."""
    from coordexp_audit_lib.sandbox import supervisor, walls

    read, write, printed, lifeline, said = fds
    os.setsid()
    walls.control(supervisor.SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:
        return
    os.dup2(printed, 2)

    def start(orders):
        parent = os.getpid()
        worker = os.fork()
        if worker:
            return worker
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for fd in (said, *orders["private"]):
                os.close(fd)
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for number in (1, 2):
                os.dup2(printed, number)
            os.close(printed)
            supervisor.limited(orders, parent)()
            _at_home(orders)
            body(read, write)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(code)

    told = supervisor.supervise({**orders, "pipes": [read, write, printed], "lifeline": lifeline}, start)
    supervisor.remove(orders["scratch"])
    os.write(said, json.dumps(told).encode())


def _at_home(orders):
    """The environment of a worker that was started by itself: homes and folders of its own."""
    os.environ.update(orders["environment"])
    tempfile.tempdir = None
