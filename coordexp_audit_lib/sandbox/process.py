"""A contained worker process: one question at a time, within limits of time, memory and output."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from coordexp_audit_lib.core.errors import SurfaceFailed
from coordexp_audit_lib.sandbox import leftovers, supervisor, walls, worker
from coordexp_audit_lib.sandbox.limits import FOLDERS, Limits, environment

CHUNK = 1 << 16
OVERHEAD = 1024
ENDING_SECONDS = 30.0
LARGE = 1 << 18
MAX_DEPTH = 100
T = TypeVar("T")


class _Valued(msgspec.Struct, Generic[T]):
    """The part of an answer that can be large."""

    value: T | msgspec.UnsetType = msgspec.UNSET


class NoAnswerInTime(SurfaceFailed):
    """The worker was still silent when its time was over."""


class Theirs(NamedTuple):
    """The ends of the pipes that the worker has (to read, to write, to print to) and those of its supervisor."""

    read: int
    write: int
    printed: int
    lifeline: int
    said: int


class Supervisor:
    """What is known of the supervisor of a worker: a child of ours, or forked by a fork server and known by its id."""

    def __init__(self) -> None:
        self.pid = 0
        self.process: subprocess.Popen[bytes] | None = None

    def signal(self, number: int) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, number)


class WorkerProcess:
    """A started worker. Every failure is a `SurfaceFailed` with one line, after which the worker is gone.

    Args:
        more: what its first frame says beside.

    Raises:
        SurfaceFailed: the interpreter cannot run the worker.
    """

    def __init__(
        self, python: str, tree: Path, answers: Path, limits: Limits, more: Mapping[str, Any] | None = None
    ) -> None:
        self._make(limits, Path(tempfile.mkdtemp(prefix="coordexp-audit-")).resolve())
        theirs = self._pipes()
        self._start([python, "-s", "-B", str(worker.__file__), str(theirs.read), str(theirs.write)], theirs)
        self._begin({"tree": str(tree), "answers": str(answers), **(more or {})}, limits.start_seconds)

    def _make(self, limits: Limits, base: Path) -> None:
        self.limits, self.base = limits, base
        self.printed, self.tail = 0, b""
        for name in FOLDERS:
            (base / name).mkdir()
        self.token = secrets.token_hex(16)
        self.worker, self.supervisor = 0, Supervisor()
        self.walls: tuple[str, ...] = ()

    def _pipes(self, *more: int) -> Theirs:
        """Make the pipes, of which one end each is ours; `more` descriptors of ours are closed with them."""
        read, self.out = os.pipe()
        self.inn, write = os.pipe()
        self.err, printed = os.pipe()
        lifeline, self.lifeline = os.pipe()
        self.said, said = os.pipe()
        for fd in (self.out, self.inn, self.err, self.said):
            os.set_blocking(fd, False)
        fds = (self.out, self.inn, self.err, *more, self.said, self.lifeline)
        self._finalizer = weakref.finalize(self, _end, self.supervisor, fds, self.base, self.token)
        return Theirs(read, write, printed, lifeline, said)

    def _start(self, command: list[str], theirs: Theirs, more: Sequence[int] = (), **orders: Any) -> None:
        """Start a supervisor that starts the command; `more` are descriptors that the command gets, too."""
        pipes = [theirs.read, theirs.write, *more]
        given = {
            **{"command": command, "pipes": pipes, "lifeline": theirs.lifeline},
            **bounds(self.limits, self.base),
            **orders,
        }
        try:
            self.supervisor.process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", str(supervisor.__file__), json.dumps(given)],
                stdin=subprocess.DEVNULL,
                stdout=theirs.said,
                stderr=theirs.printed,
                pass_fds=(*pipes, theirs.lifeline),
                cwd=self.base / "work",
                env=environment(self.base, self.token),
                start_new_session=True,
            )
        finally:
            for fd in (*theirs, *more):
                os.close(fd)
        self.supervisor.pid = self.supervisor.process.pid

    def _begin(self, setup: dict[str, Any], seconds: float) -> None:
        own = {"scratch": str(self.base / "work"), "frame": self.limits.frame}
        more = {"readable": [*self.limits.writable, *self.limits.readable]}
        told = self.exchange(setup | own | more, seconds)
        self.walls = tuple(name for name in walls.TOLD if name in told.get("walls", ()))
        self.worker = told["ready"]
        self.supervisor.pid = self.supervisor.pid or told["supervisor"]

    def exchange(self, message: dict[str, Any], seconds: float, response: Any = Any) -> dict[str, Any]:
        """Send one message and return its answer, decoded; a large one must fit the `response` type before that.

        Raises:
            SurfaceFailed: it crashed, hung, flooded, answered with anything but strict JSON, or left processes behind.
        """
        number, self.printed = secrets.token_hex(8), 0
        payload = json.dumps({"id": number, **message}).encode()
        deadline = time.monotonic() + seconds
        try:
            self._send(struct.pack(">I", len(payload)) + payload, deadline, seconds)
            (size,) = struct.unpack(">I", self._receive(4, deadline, seconds))
            if size > self.limits.frame + OVERHEAD:
                raise SurfaceFailed(f"it sent {size} bytes at once, more than the limit of {self.limits.frame}")
            answer = decoded(self._receive(size, deadline, seconds), response)
            if not isinstance(answer, dict) or answer.pop("id", None) != number:
                raise SurfaceFailed("it wrote something other than its answer to the private pipe")
            if pending(self.inn):
                self._receive(1, deadline, seconds)  # its end is told from more bytes
                raise SurfaceFailed("it wrote more than its answer to the private pipe")
            left = leftovers.left_running(self.supervisor.pid, self.worker)
            if left:
                raise SurfaceFailed(f"it left {left} processes running after its answer")
        except BaseException:  # also a user's Ctrl-C: an answer may be under way
            self.end()
            raise
        return answer

    def _send(self, data: bytes, deadline: float, seconds: float) -> None:
        view = memoryview(data)
        while view:
            self._wait(self.out, select.POLLOUT, deadline, seconds)
            try:
                view = view[os.write(self.out, view) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._ended() from error

    def _receive(self, size: int, deadline: float, seconds: float) -> bytes:
        parts: list[bytes] = []
        while size:
            self._wait(self.inn, select.POLLIN, deadline, seconds)
            try:
                part = os.read(self.inn, min(size, CHUNK))
            except BlockingIOError:
                continue
            if not part:
                raise self._ended()
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _wait(self, fd: int, event: int, deadline: float, seconds: float) -> None:
        """Wait until `fd` is ready; take what the worker prints meanwhile, so that it is never blocked by it."""
        poll = select.poll()
        poll.register(fd, event)
        poll.register(self.err, select.POLLIN)
        poll.register(self.said, select.POLLIN)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise NoAnswerInTime(f"it did not answer within {seconds:g} seconds{self._last_words()}")
            ready = dict(poll.poll(left * 1000))
            if self.err in ready and not self._drain():
                poll.unregister(self.err)
            if fd in ready:
                return
            if self.said in ready:  # the supervisor ended; a child of the worker's may still hold its pipe
                raise self._ended()

    def _drain(self) -> bool:
        """Take what the worker printed; False once there is no more to come."""
        try:
            part = os.read(self.err, CHUNK)
        except BlockingIOError:
            return True
        self.printed += len(part)
        self.tail = (self.tail + part)[-CHUNK:]
        if self.printed > self.limits.flood:
            raise SurfaceFailed(f"it printed more than {self.limits.flood} bytes while it was asked")
        return bool(part)

    def _ended(self) -> SurfaceFailed:
        """Its pipe is closed: why, with what it printed last."""
        by_itself = pending(self.said, 1.0)  # the worker ended: its supervisor follows at once, and says how
        with contextlib.suppress(SurfaceFailed):
            while pending(self.err) and self._drain():
                pass
        said = self.end()
        reason = said if by_itself else "it closed the private pipe"
        return SurfaceFailed(f"{reason}{self._last_words()}")

    def _last_words(self) -> str:
        lines = [line for line in self.tail.decode("utf-8", "backslashreplace").splitlines() if line.strip()]
        text = " | ".join(shown(line.strip()) for line in lines[-3:])[-600:]
        return f"; it printed last: {text}" if text else ""

    def end(self) -> str:
        """Kill the worker and all that it started, and remove its scratch. Safe to call twice."""
        return self._finalizer() or ""


def pending(fd: int, seconds: float = 0.0) -> bool:
    """Whether there is something to read, an end included, or will be in so many seconds."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def bounds(limits: Limits, scratch: Path, workers: int = 1) -> dict[str, Any]:
    """What a supervisor is told of the limits: those of one worker, or of several together."""
    each = {name: workers * getattr(limits, name) for name in ("memory", "disk", "processes")}
    more = {"writable": list(limits.writable), "home": str(Path("~").expanduser())}
    return {**each, **more, "rlimits": limits.rlimits(), "scratch": str(scratch)}


def decoded(data: bytes, response: Any = Any) -> Any:
    """Strict JSON only: no NaN, no lone surrogate, no invalid UTF-8, no deep nesting.

    A large answer is decoded as its type first, which ends at the first misfit: plain decoding could take far more
    memory than the bytes have.
    """
    try:
        if len(data) > LARGE:
            msgspec.json.decode(data, type=_Valued[response])
        answer = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SurfaceFailed(f"what it sent is not a strict JSON answer: {error}") from error
    depth, level = 0, [answer] if isinstance(answer, (dict, list)) else []
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise SurfaceFailed(f"what it sent is nested deeper than {MAX_DEPTH} levels")
        inner = (part for value in level for part in (value.values() if isinstance(value, dict) else value))
        level = [part for part in inner if isinstance(part, (dict, list))]
    return answer


def shown(text: str) -> str:
    """Text in which control characters are visible as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _end(supervisor: Supervisor, fds: Sequence[int], base: Path, token: str) -> str:
    """End the supervisor, which ends the rest; if it was killed itself, find the rest by the token."""
    *others, said, lifeline = fds
    supervisor.signal(signal.SIGCONT)  # in case the target stopped it
    with contextlib.suppress(OSError):
        os.write(lifeline, b"end")  # closing alone is not enough if a fork of this process holds the pipe, too
    for fd in (*others, lifeline):
        with contextlib.suppress(OSError):
            os.close(fd)
    last = _read_all(said, ENDING_SECONDS)
    if last is None:
        supervisor.signal(signal.SIGKILL)
        last = _read_all(said, ENDING_SECONDS)
    os.close(said)
    if supervisor.process is not None:
        supervisor.process.wait()
    leftovers.sweep(token, base)
    shutil.rmtree(base, ignore_errors=True)
    try:
        return str(json.loads(last or b"")["reason"])
    except (ValueError, KeyError, TypeError):
        return "its supervisor was killed"


def _read_all(fd: int, seconds: float) -> bytes | None:
    """What comes from a pipe until its end; None if that does not come in time."""
    data, deadline = b"", time.monotonic() + seconds
    while pending(fd, max(0.0, deadline - time.monotonic())):
        part = os.read(fd, CHUNK)
        if not part:
            return data
        data += part
    return None
