"""Data files as bytes, whatever they are packed in; and what is no such data, told as what it is."""

from __future__ import annotations

import bz2
import glob
import gzip
import io
import lzma
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from coordexp_audit_lib.core.errors import UsageError
from coordexp_audit_lib.core.reading import NotRegular, regular

REMEDY = "give JSON lines, one record a line, a JSON array, Parquet or Arrow; plain, .gz, .xz, .bz2 or .zst"
HEAD = 64
BOM = b"\xef\xbb\xbf"
MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstandard"),
)
UTF8 = "write it as UTF-8: `iconv -f {0} -t UTF-8`"
# What a file may be that is no such data at all: what it begins with, what it is, and what to do.
FOREIGN: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "is a Git LFS pointer, which is no data", "fetch the file with `git lfs pull`"),
    (b"\xff\xfe\0\0", "is UTF-32", UTF8.format("UTF-32")),
    (b"\0\0\xfe\xff", "is UTF-32", UTF8.format("UTF-32")),
    (b"\xff\xfe", "is UTF-16", UTF8.format("UTF-16")),
    (b"\xfe\xff", "is UTF-16", UTF8.format("UTF-16")),
    (b"PK\x03\x04", "is a zip archive", "unpack it and give the file in it"),
    (b"\x89PNG", "is an image", "give the file that names the images"),
    (b"\xff\xd8\xff", "is an image", "give the file that names the images"),
    (b"\x80\x04", "is a pickle, which is never loaded", "write the records as JSON lines"),
)
# By which of the first four bytes are NUL, what a text without a byte order mark is: JSON begins with ASCII.
BARE: dict[tuple[bool, ...], str] = {
    (True, False, True, False): "UTF-16-BE",
    (False, True, False, True): "UTF-16-LE",
    (True, True, True, False): "UTF-32-BE",
    (False, True, True, True): "UTF-32-LE",
}


class Source(NamedTuple):
    """A file that is open. raw: its own bytes. file: what is packed in them. head: the first of these. packed: how."""

    name: str
    raw: IO[bytes]
    file: IO[bytes]
    head: bytes
    packed: str

    @property
    def table(self) -> str:
        """Whether it is `parquet` or `arrow`, or neither."""
        arrow = self.head.startswith((b"ARROW1", b"\xff\xff\xff\xff"))  # a file, or a stream as `datasets` writes it
        return "parquet" if self.head.startswith(b"PAR1") else "arrow" if arrow else ""


@contextmanager
def opened(path: str | Path) -> Iterator[Source]:
    """Open a local file, or what an URL names, by what it begins with and not by its name.

    Raises:
        UsageError: it is no regular file, cannot be read, or is no such data.
    """
    name = str(path)
    try:
        with _raw(name) as raw:
            head = raw.read(HEAD)
            raw.seek(0)
            packed = next((kind for magic, kind in MAGIC if head.startswith(magic)), "")
            file: Any = raw
            if packed:
                file = Unpacked(_unpacked(name, raw, packed))
                head = file.head
            _refuse_foreign(name, head)
            yield Source(name, raw, file, head, packed)
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror or error}", where=name, remedy=REMEDY) from error


def _raw(name: str) -> IO[bytes]:
    if is_remote(name):
        return _remote(name)
    try:
        return regular(name)
    except NotRegular as error:
        raise UsageError("is no regular file", where=name, remedy=REMEDY) from error


def is_remote(name: str) -> bool:
    """Whether a name is an URL that fsspec opens."""
    return "://" in name and not Path(name).exists()


def _remote(name: str) -> IO[bytes]:
    fsspec = fsspec_for(name)
    try:
        made: IO[bytes] = fsspec.open(name, "rb").open()
    except (ImportError, ValueError) as error:
        raise UsageError(str(error), where=name, remedy="install what fsspec names, or copy the file here") from error
    return made


def expanded(word: str) -> list[str]:
    """The files that a word of the command line names: one, or those that fit its pattern.

    Raises:
        UsageError: none fits.
    """
    if not any(c in word for c in "*?[") or Path(word).exists():
        return [word]
    if is_remote(word):
        protocol = word.partition("://")[0]
        found = [f"{protocol}://{name}" for name in fsspec_for(word).filesystem(protocol).glob(word)]
    else:
        found = glob.glob(word, recursive=True)  # noqa: PTH207 (the pattern may be absolute)
    if not found:
        raise UsageError("no file fits the pattern", where=word, remedy="name a file")
    return sorted(found)


def fsspec_for(name: str) -> Any:
    """The package fsspec.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import fsspec
    except ImportError as error:
        remedy = "install coordexp-audit[data], or copy the file here"
        raise UsageError("is an URL, and fsspec is not installed", where=name, remedy=remedy) from error
    return fsspec


def _unpacked(name: str, raw: IO[bytes], packed: str) -> IO[bytes]:
    if packed == "zstandard":
        try:
            import zstandard
        except ImportError as error:
            remedy = "install coordexp-audit[data], or unpack the file"
            raise UsageError("is packed with zstandard, which is not installed", where=name, remedy=remedy) from error
        made: Any = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True)
        return io.BufferedReader(made)
    readers: dict[str, Callable[[IO[bytes]], Any]] = {"gzip": _gunzip, "xz": lzma.LZMAFile, "bzip2": bz2.BZ2File}
    unpacked: IO[bytes] = readers[packed](raw)
    return unpacked


def _gunzip(raw: IO[bytes]) -> gzip.GzipFile:
    return gzip.GzipFile(fileobj=raw)


class Unpacked:
    """What is packed in a file, read in whole pieces. What could be unpacked before the place at which it is damaged is
    given first, and then the error is raised."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.head = file, b""
        self.error: Exception | None = None
        try:
            self.head = self.read(HEAD)
        except Exception as error:
            self.error = error

    def read(self, size: int = -1) -> bytes:
        pieces, held = [self.head], len(self.head)
        self.head = b""
        while not self.error and held < size:
            try:
                piece = self.file.read1(size - held)  # type: ignore[attr-defined]
            except Exception as error:  # of zlib, lzma, zstandard, which the reader of blocks tells
                self.error = error
                break
            if not piece:
                return b"".join(pieces)
            pieces.append(piece)
            held += len(piece)
        if self.error and not held:
            raise self.error
        return b"".join(pieces)


def _refuse_foreign(name: str, head: bytes) -> None:
    for begins, what, remedy in FOREIGN:
        if head.startswith(begins):
            raise UsageError(what, where=name, remedy=remedy)
    kind = BARE.get(tuple(b == 0 for b in head[:4]))
    if kind:
        raise UsageError(f"is {kind} without a byte order mark", where=name, remedy=UTF8.format(kind))
