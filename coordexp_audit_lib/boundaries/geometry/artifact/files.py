"""From a data file to the texts of its records, whatever it is packed in: lines, a JSON array, COCO's one object."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from coordexp_audit_lib.core.errors import UsageError

MAX_LINE = 64 << 20
MAX_WHOLE = 1 << 30  # a JSON array or object is read at once
REMEDY = "give JSON lines, one record a line, or a JSON array; plain, .gz, .xz, .bz2 or .zst"
BOM = b"\xef\xbb\xbf"
MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstandard"),
)
# What a file may be that is no such data at all: what it begins with, what it is, and what to do.
FOREIGN: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "is a Git LFS pointer, which is no data", "fetch the file with `git lfs pull`"),
    (b"\xff\xfe", "is UTF-16", "write it as UTF-8: `iconv -f UTF-16 -t UTF-8`"),
    (b"\xfe\xff", "is UTF-16", "write it as UTF-8: `iconv -f UTF-16 -t UTF-8`"),
    (b"PAR1", "is Parquet", "write it as JSON lines, for example with `pandas.read_parquet(...).to_json(lines=True)`"),
    (b"ARROW1", "is Arrow", "write it as JSON lines"),
    (b"PK\x03\x04", "is a zip archive", "unpack it and give the file in it"),
)
COCO = {"images", "annotations", "categories"}


class Text(NamedTuple):
    """A record's text and its number: the line, or the place in the array, from 1. broken: why there is no more."""

    number: int
    line: bytes
    broken: str = ""


def texts(path: Path, progress: Callable[[int], object] | None = None) -> Iterator[Text]:
    """The records of a file in order; `progress` is called with the number of bytes that were read.

    Raises:
        UsageError: it is no regular file, cannot be read, is no such data, or a line is longer than `MAX_LINE`.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError("is no regular file", where=str(path), remedy=REMEDY)
        with path.open("rb") as raw:
            head = raw.read(64)
            raw.seek(0)
            _refuse_foreign(path, head)
            yield from _records(path, _unpacked(path, raw, head), progress or (lambda _: None))
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror or error}", where=str(path), remedy=REMEDY) from error


def _refuse_foreign(path: Path, head: bytes) -> None:
    for begins, what, remedy in FOREIGN:
        if head.startswith(begins):
            raise UsageError(what, where=str(path), remedy=remedy)


def _unpacked(path: Path, raw: IO[bytes], head: bytes) -> IO[bytes]:
    kind = next((kind for magic, kind in MAGIC if head.startswith(magic)), "")
    if kind == "zstandard":
        try:
            import zstandard
        except ImportError as error:
            remedy = "install the package zstandard, or unpack the file"
            raise UsageError(
                "is packed with zstandard, which is not installed", where=str(path), remedy=remedy
            ) from error
        made: Any = zstandard.ZstdDecompressor().stream_reader(raw)
        return io.BufferedReader(made)
    readers: dict[str, Callable[[IO[bytes]], Any]] = {"gzip": _gunzip, "xz": lzma.LZMAFile, "bzip2": bz2.BZ2File}
    return readers[kind](raw) if kind else raw


def _gunzip(raw: IO[bytes]) -> gzip.GzipFile:
    return gzip.GzipFile(fileobj=raw)


def _records(path: Path, file: IO[bytes], progress: Callable[[int], object]) -> Iterator[Text]:
    number, first = 0, True
    try:
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if number == 1:
                line = line.removeprefix(BOM)
            if first and line.strip():
                first = False
                if _is_whole(line):
                    yield from _whole(path, line + file.read(MAX_WHOLE + 1), progress)
                    return
            if len(line) > MAX_LINE:
                raise UsageError(f"line {number} is longer than {MAX_LINE} bytes", where=str(path), remedy=REMEDY)
            progress(len(line))
            if line.strip():
                yield Text(number, line)
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        yield Text(number + 1, b"", f"the packed file is cut short or damaged: {error}")
    except OSError as error:
        if error.errno is not None:
            raise
        yield Text(number + 1, b"", f"the packed file is cut short or damaged: {error}")


def _is_whole(line: bytes) -> bool:
    """Whether a file that begins with this line is one JSON value: an array, or an object over several lines."""
    start = line.lstrip()[:1]
    if start == b"[":
        return True
    if start != b"{":
        return False
    try:
        value = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return line.strip() == b"{"
    return isinstance(value, dict) and value.keys() >= COCO


def _whole(path: Path, data: bytes, progress: Callable[[int], object]) -> Iterator[Text]:
    """The elements of an array; the images of COCO's object, each with its annotations; else the one object."""
    if len(data) > MAX_WHOLE:
        what = f"is one JSON value of more than {MAX_WHOLE >> 20} MiB"
        raise UsageError(what, where=str(path), remedy="write it as JSON lines")
    progress(len(data))
    try:
        value = msgspec.json.decode(data, type=list[msgspec.Raw] | dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        yield Text(1, b"", f"the JSON value that the file is does not parse: {error}")
        return
    if isinstance(value, list):
        yield from (Text(i, bytes(raw)) for i, raw in enumerate(value, 1))
    elif value.keys() >= COCO:
        yield from _coco(data)
    else:
        yield Text(1, data)


def _coco(data: bytes) -> Iterator[Text]:
    """One record for each image of a COCO file, with the annotations that name it, and with the categories' names."""
    whole = msgspec.json.decode(data)
    names = {c.get("id"): c.get("name") for c in whole["categories"] if isinstance(c, dict)}
    mine: dict[Any, list[Any]] = {}
    for a in whole["annotations"]:
        if isinstance(a, dict):
            mine.setdefault(a.get("image_id"), []).append({**a, "category": names.get(a.get("category_id"))})
    for i, image in enumerate(whole["images"], 1):
        made = {**image, "annotations": mine.pop(image.get("id"), [])} if isinstance(image, dict) else image
        yield Text(i, msgspec.json.encode(made))
    for i, (image_id, lost) in enumerate(mine.items(), len(whole["images"]) + 1):
        yield Text(i, msgspec.json.encode({"id": image_id, "annotations": lost, "no_such_image": True}))
