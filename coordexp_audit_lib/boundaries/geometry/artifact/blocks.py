"""Lines in blocks, so that sound ones can be judged many at a time; what is too long or broken is told, and skipped."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

NEWLINE = ord("\n")
BLOCK = 1 << 17
MAX_LINE = 64 << 20


class Block(NamedTuple):
    """Whole lines, or the text of one record.

    number: of the first line, or the place of the record, from 1. offset: of its first byte in the file as unpacked.
    text: the bytes. broken: why there is no text. ends: where its newlines are, an array, if they were looked for.
    pack: what it holds in the place of a text.
    """

    number: int
    offset: int
    text: bytes
    broken: str = ""
    ends: Any = None
    pack: Pack | None = None


class Pack(NamedTuple):
    """Many records that stand in no lines. made: each as a block of its own, which may cost. number: how many.

    text: all of them as a JSON array, if it is at hand. counts: what was judged of them, where all are sound.
    """

    made: Callable[[], Sequence[Block]]
    number: int
    text: bytes = b""
    counts: Any = None


Read = Callable[[int], bytes]


def blocks_of(read: Read, rest: bytes = b"", offset: int = 0, size: int = BLOCK) -> Iterator[Block]:
    """The lines of a file. rest: what was read of it before.

    A line longer than `MAX_LINE` is read over, not kept; a packed file that breaks off ends with a block that says so.
    """
    number, held = 1, 0
    kept: list[bytes] = []
    reading = chain([(rest, "")] if rest else [], guarded(read, size))
    broken = ""
    while not broken:
        more, broken = next(reading)
        if not more:
            break
        end = more.rfind(b"\n") + 1
        if not end:
            kept.append(more)
            held += len(more)
            if held > MAX_LINE:
                skipped, tail, broken = _skip(reading)
                yield Block(number, offset, b"", f"the line is longer than {MAX_LINE >> 20} MiB; it was read over")
                number, offset, kept, held = number + 1, offset + held + skipped, [tail] if tail else [], len(tail)
            continue
        text = b"".join((*kept, more[:end])) if kept else more[:end]
        ends = ends_of(text)
        yield from _bounded(Block(number, offset, text, ends=ends))
        number, offset = number + len(ends), offset + len(text)
        kept, held = [more[end:]] if end < len(more) else [], len(more) - end
    last = b"".join(kept)
    if last and not broken:
        yield from _bounded(Block(number, offset, last))
    elif broken:
        yield Block(number, offset, b"", broken)


def guarded(read: Read, size: int) -> Iterator[tuple[bytes, str]]:
    """What is read piece by piece, and in the end why a packed file can't be read on."""
    while True:
        try:
            more = read(size)
        except (EOFError, zlib.error, lzma.LZMAError) as error:
            yield b"", f"the packed file is cut short or damaged: {error}"
        except OSError as error:
            if error.errno is not None:
                raise
            yield b"", f"the packed file is cut short or damaged: {error}"
        except Exception as error:
            if type(error).__name__ != "ZstdError":
                raise
            yield b"", f"the packed file is cut short or damaged: {error}"
        else:
            yield more, ""


def ends_of(text: bytes) -> Any:
    """Where the newlines are: an array of int64."""
    return np.flatnonzero(np.frombuffer(text, np.uint8) == NEWLINE)


def _skip(reading: Iterator[tuple[bytes, str]]) -> tuple[int, bytes, str]:
    """Read to the end of the line: how many bytes that took, what follows it, and why reading stopped."""
    skipped = 0
    while True:
        more, broken = next(reading)
        if broken or not more:
            return skipped, b"", broken
        end = more.find(b"\n") + 1
        if end:
            return skipped + end, more[end:], ""
        skipped += len(more)


def _bounded(block: Block) -> Iterator[Block]:
    """The block, if none of its lines can be too long; else what is left of it without those."""
    if len(block.text) <= MAX_LINE:
        yield block
        return
    why = f"the line is longer than {MAX_LINE >> 20} MiB; it was read over"
    for line in lines_of(block):
        yield line._replace(text=b"", broken=why) if len(line.text) > MAX_LINE else line


def records_of(block: Block, lines: bool) -> Iterator[Block]:
    """Each record of a block by itself. lines: whether it holds lines."""
    if block.pack is not None:
        return iter(block.pack.made())
    return lines_of(block) if lines else iter((block,))


def lines_of(block: Block) -> Iterator[Block]:
    """Each line of a block that is not blank, by itself."""
    if block.broken:
        yield block
        return
    offset = block.offset
    for number, line in enumerate(_split(block.text), block.number):
        if line.strip():
            yield Block(number, offset, line)
        offset += len(line)


def _split(text: bytes) -> list[bytes]:
    """The lines with their ends; only a newline ends one."""
    found = [line + b"\n" for line in text.split(b"\n")]
    last = found.pop()[:-1]
    return [*found, last] if last else found


def halves(block: Block) -> tuple[Block, Block] | None:
    """The block in two, at the line that ends next to its middle; None where it is one line."""
    middle = len(block.text) // 2
    cut = block.text.find(b"\n", middle) + 1
    if not 0 < cut < len(block.text):
        cut = block.text.rfind(b"\n", 0, middle) + 1
    if not 0 < cut < len(block.text):
        return None
    first, second = block.text[:cut], block.text[cut:]
    after = Block(block.number + first.count(b"\n"), block.offset + cut, second)
    return Block(block.number, block.offset, first), after
