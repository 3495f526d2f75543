"""A fork server: a worker that imports once what all workers need, and from which they are then forked.

Importing torch, transformers and the trainers costs more than most questions; a forked worker has them at once, and is
as if it had just been started: nothing that another was asked has happened in it.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.kit import tokenizer
from coordexp_audit_lib.sandbox import worker
from coordexp_audit_lib.sandbox.limits import FOLDERS, Limits, environment
from coordexp_audit_lib.sandbox.process import Theirs, WorkerProcess, bounds


class ForkServer(WorkerProcess):
    """Started at once; what it imports, it imports while others work.

    Args:
        preload: what it calls first, as `module:function` of this library's (`sandbox.forking.preload`).
        more: what the first frame of it and of all workers says beside.
        workers: how many are forked at most at a time; the limits of all together are as many times those of one.

    Raises:
        SurfaceFailed: the interpreter cannot run the worker.
    """

    def __init__(
        self,
        python: str,
        tree: Path,
        answers: Path,
        limits: Limits,
        *,
        preload: str = "",
        workers: int = 1,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self._make(limits, Path(tempfile.mkdtemp(prefix="coordexp-audit-")).resolve())
        tokenizer.hand_on(self.base / "home")
        self.setup = {"tree": str(tree), "answers": str(answers), **(more or {})}
        self.control, passed = (s.detach() for s in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
        theirs = self._pipes(self.control)
        command = [python, "-s", "-B", str(worker.__file__), *map(str, (theirs.read, theirs.write, passed))]
        self._start(command, theirs, [passed], forks=True, **bounds(limits, self.base, workers + 1))
        self._begin({**self.setup, "preload": preload}, limits.start_seconds)

    def fork(self) -> WorkerProcess:
        """A new worker; callable from any process that was forked from the one that started the server.

        Raises:
            SurfaceFailed: the server is gone, or gave none in time.
        """
        try:
            return _Forked(self)
        except OSError as error:
            raise SurfaceFailed(f"the fork server is gone: {error}") from error

    def order(self, told: dict[str, Any], fds: Theirs) -> None:
        """Have a worker forked that gets these pipes.

        Raises:
            OSError: the server is gone.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM, fileno=os.dup(self.control)) as control:
            socket.send_fds(control, [json.dumps(told).encode()], list(fds))

    def end(self) -> str:
        self.control = -1
        return super().end()


class _Forked(WorkerProcess):
    def __init__(self, server: ForkServer) -> None:
        limits = server.limits
        self._make(limits, Path(tempfile.mkdtemp(prefix="forked-", dir=server.base)))
        theirs = self._pipes()
        shared = [str(server.base / name) for name in FOLDERS if name != "work"]  # what was imported may write there
        orders = {**bounds(limits, self.base), "environment": environment(self.base, self.token)}
        orders["writable"] = [*orders["writable"], *shared]
        try:
            server.order(orders, theirs)
        except OSError:
            self.end()
            raise
        finally:
            for fd in theirs:
                os.close(fd)
        self._begin(dict(server.setup), limits.start_seconds + limits.first_seconds)


__all__ = ["ForkServer"]
