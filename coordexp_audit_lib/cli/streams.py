"""The command line's side of the process: standard streams as they come, signals that end it in order, memory."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from coordexp_audit_lib.core.errors import unusable

ENDING = ("SIGTERM", "SIGHUP")
RARELY = 100_000, 20, 50  # new objects until the youngest are gone over; and how many times that until older ones are


class Ended(KeyboardInterrupt):
    """A signal asks to end; as an exception, so that what was begun is put away."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


def opened() -> bool:
    """Make the standard streams fit for use: what they can't encode is escaped, and the numbers 0 to 2 are taken, so
    that no other file gets one. False, after a word on stderr, where there is no standard output."""
    missing = sys.stdout is None
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        continue
    os.close(fd)
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115  for as long as the process
    if missing:
        remedy = "redirect it to a file, or to /dev/null"
        print(f"coordexp-audit: standard output is closed. Remedy: {remedy}", file=sys.stderr)
        return False
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    return True


def say(text: str, end: str = "\n") -> None:
    """Print on standard output.

    Raises:
        BrokenPipeError: nobody reads it any more.
        UsageError: it cannot be written.
    """
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_output()
        raise unusable(error, "standard output") from error


def discard_output() -> None:
    """From here on, standard output leads nowhere: what is still buffered raises nothing at the end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Meanwhile SIGTERM and SIGHUP raise `Ended`, unless they are ignored."""
    before = {}
    for number in (getattr(signal, name) for name in ENDING if hasattr(signal, name)):
        with contextlib.suppress(ValueError):  # not the main thread
            if signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def rarely_collected() -> Iterator[None]:
    """Meanwhile Python looks for garbage a hundred times less often: syntax trees, answers and imports make objects by
    the million that stay, and going over them took three quarters of the time that parsing takes."""
    before = gc.get_threshold()
    gc.set_threshold(*RARELY)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _end(number: int, frame: FrameType | None) -> None:
    raise Ended(number)
