"""Large files in parts that are judged apart, here or on a cluster; the same comes out whatever the parts are."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from coordexp_audit_lib.boundaries.geometry.artifact.blocks import BLOCK, Read, blocks_of
from coordexp_audit_lib.boundaries.geometry.artifact.files import Source, opened
from coordexp_audit_lib.boundaries.geometry.artifact.how import How
from coordexp_audit_lib.boundaries.geometry.artifact.judging import File, FilePart, Judge
from coordexp_audit_lib.boundaries.geometry.artifact.stream import Stream, stream_of

PART = 32 << 20


class Span(NamedTuple):
    """A part of a file: whole lines from byte `begin` to byte `end`; the file from its beginning where `end` is -1."""

    name: str
    file: File
    how: How
    begin: int = 0
    end: int = -1
    size: int = 0


def spans_of(source: Source, stream: Stream, file: File, how: How, jobs: int) -> list[Span]:
    """The parts of a file: one, unless it is plain lines and there is someone to share them with."""
    size = source.raw.seek(0, 2)
    if jobs <= 1 or source.packed or not stream.lines or size < 2 * PART:
        return [Span(source.name, file, how, size=size)]
    cuts = [stream.start, *_cuts(source, stream.start, size), size]
    return [Span(source.name, file, how, a, b, b - a) for a, b in pairwise(cuts)]


def _cuts(source: Source, start: int, size: int) -> Iterator[int]:
    """Where lines begin, about a part apart."""
    at = start + PART
    while at < size:
        source.raw.seek(at)
        while more := source.raw.read(BLOCK):
            end = more.find(b"\n") + 1
            at += end or len(more)
            if end:
                break
        if at < size:
            yield at
        at += PART


def judge_span(span: Span) -> FilePart:
    """Judge a part of a file by itself, in any process that has the boundary's claims and can open the file."""
    judge = Judge(span.file, span.how)
    with opened(span.name) as source:
        if span.end < 0:
            stream = stream_of(source)
            blocks, lines = stream.blocks, stream.lines
        else:
            source.raw.seek(span.begin)
            blocks, lines = blocks_of(_until(source, span.end - span.begin), offset=span.begin), True
        for block in blocks:
            judge.take(block, lines)
    return judge.part()


def _until(source: Source, left: int) -> Read:
    """Reads no further than so many bytes."""

    def read(size: int) -> bytes:
        nonlocal left
        more = source.raw.read(min(size, left))
        left -= len(more)
        return more

    return read
