"""Reading files that come from outside: regular ones only, so that no read waits, and no more of one than a bound."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


class NotRegular(OSError):
    """What is named is no regular file."""


def regular(path: Path | str, *, follow: bool = True) -> BinaryIO:
    """Open a regular file to read. A FIFO, socket or device, which could keep a reader waiting for ever, is not opened.

    follow: whether a link is followed to what it names.

    Raises:
        NotRegular: it is none. OSError: it cannot be opened.
    """
    links = 0 if follow else os.O_NOFOLLOW
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | links)
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise NotRegular(number, "is no regular file", str(path))
    return os.fdopen(fd, "rb")


def content(path: Path | str, most: int) -> bytes:
    """The bytes of a regular file.

    Raises:
        OSError: it is none, cannot be read, or holds more than `most` bytes.
    """
    with regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"holds more than {most} bytes, the most that is read", str(path))
    return data
