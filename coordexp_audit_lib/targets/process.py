"""A contained worker process: one question at a time, within limits of time, memory and output."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.targets import worker as worker_module

WORKER = Path(worker_module.__file__)
PASSED_ON = ("PATH", "LD_LIBRARY_PATH")
CHUNK = 1 << 16


class Limits(msgspec.Struct, frozen=True):
    """What a worker may use. Seconds for an answer (the first of a surface includes imports), bytes for the rest."""

    first_seconds: float = 300.0
    seconds: float = 120.0
    memory: int = 8 << 30
    frame: int = 32 << 20
    flood: int = 64 << 20
    file: int = 4 << 30
    open_files: int = 4096
    processes: int = 128
    starts: int = 3


def environment(scratch: Path) -> dict[str, str]:
    """The worker's environment: nothing of ours but the search paths; offline, without a GPU, homes in the scratch."""
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    home = str(scratch / "home")
    return kept | {
        "HOME": home,
        "TMPDIR": str(scratch / "tmp"),
        "XDG_CACHE_HOME": f"{home}/.cache",
        "HF_HOME": f"{home}/huggingface",
        "MODELSCOPE_CACHE": f"{home}/modelscope",
        "USER": "audit",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "WANDB_MODE": "disabled",
        "CUDA_VISIBLE_DEVICES": "",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "MPLBACKEND": "agg",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUTF8": "1",
    }


class WorkerProcess:
    """A started worker. Every failure is a `SurfaceFailed` with one line, after which the worker is gone."""

    def __init__(self, python: str, tree: Path, folders: list[Path], limits: Limits) -> None:
        self.limits, self.number, self.noise, self.tail = limits, 0, 0, b""
        self.base = Path(tempfile.mkdtemp(prefix="coordexp-audit-")).resolve()
        for name in ("home", "tmp", "work"):
            (self.base / name).mkdir()
        theirs_in, self.out = os.pipe()
        self.inn, theirs_out = os.pipe()
        self.err, theirs_err = os.pipe()
        self.process = subprocess.Popen(
            [python, "-s", "-B", str(WORKER), str(theirs_in), str(theirs_out)],
            stdin=subprocess.DEVNULL,
            stdout=theirs_err,
            stderr=theirs_err,
            pass_fds=(theirs_in, theirs_out),
            cwd=self.base / "work",
            env=environment(self.base),
            start_new_session=True,
        )
        for fd in (theirs_in, theirs_out, theirs_err):
            os.close(fd)
        for fd in (self.out, self.inn, self.err):
            os.set_blocking(fd, False)
        setup = {"tree": str(tree), "scratch": str(self.base / "work"), "frame": limits.frame}
        self.exchange(setup | {"bindings": [str(f) for f in folders]}, limits.first_seconds)

    def exchange(self, message: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Send one message and return its answer."""
        self.number += 1
        self.noise = 0
        payload = json.dumps(message | {"id": self.number}).encode()
        deadline = time.monotonic() + seconds
        try:
            self._send(struct.pack(">I", len(payload)) + payload, deadline)
            (size,) = struct.unpack(">I", self._receive(4, deadline))
            if size > self.limits.frame + 1024:
                raise SurfaceFailed(f"it sent a frame of {size} bytes, more than {self.limits.frame}")
            answer = msgspec.json.decode(self._receive(size, deadline))
            if not isinstance(answer, dict) or answer.get("id") != self.number:
                raise SurfaceFailed("it wrote something else than its answer to the private pipe")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self.end()
            raise SurfaceFailed(f"its answer is not strict JSON: {error}") from error
        except SurfaceFailed:
            self.end()
            raise
        return answer

    def _send(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            self._wait(self.out, select.POLLOUT, deadline)
            try:
                view = view[os.write(self.out, view) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._ended() from error

    def _receive(self, size: int, deadline: float) -> bytes:
        parts: list[bytes] = []
        while size:
            self._wait(self.inn, select.POLLIN, deadline)
            try:
                part = os.read(self.inn, min(size, CHUNK))
            except BlockingIOError:
                continue
            if not part:
                raise self._ended()
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _wait(self, fd: int, event: int, deadline: float) -> None:
        """Wait until `fd` is ready; drain what the worker prints meanwhile."""
        poll = select.poll()
        poll.register(fd, event)
        poll.register(self.err, select.POLLIN)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise SurfaceFailed("it did not answer in time" + self._last_words())
            ready = dict(poll.poll(left * 1000))
            if self.err in ready and not self._drain():
                poll.unregister(self.err)
            if fd in ready:
                return

    def _drain(self) -> bool:
        """Take what the worker printed; False once its pipe is closed."""
        try:
            part = os.read(self.err, CHUNK)
        except BlockingIOError:
            return True
        self.noise += len(part)
        self.tail = (self.tail + part)[-CHUNK:]
        if self.noise > self.limits.flood:
            raise SurfaceFailed(f"it printed more than {self.limits.flood} bytes")
        return bool(part)

    def _ended(self) -> SurfaceFailed:
        with contextlib.suppress(SurfaceFailed):
            while self._drain() and select.select([self.err], [], [], 0)[0]:
                pass
        return SurfaceFailed("it ended without an answer" + self._last_words())

    def _last_words(self) -> str:
        lines = self.tail.decode("utf-8", "backslashreplace").splitlines()[-5:]
        text = " | ".join(lines)[-500:]
        return f"; it printed last: {text}" if text.strip() else ""

    def end(self) -> None:
        """Kill the worker and remove its scratch. Safe to call twice."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for fd in (self.out, self.inn, self.err):
            with contextlib.suppress(OSError):
                os.close(fd)
        shutil.rmtree(self.base, ignore_errors=True)
