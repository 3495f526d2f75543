"""Files that are one JSON array, whose elements are read as they come."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from coordexp_audit_lib.boundaries.geometry.artifact.blocks import BLOCK, MAX_LINE, Block, Pack, Read, guarded

QUICK = 8 * BLOCK  # bytes: what holds no end of an element is gone over once, and not again and again
_KINDS = np.zeros(256, np.uint8)
_KINDS[[*b'"[]{},']] = [1, 2, 3, 2, 3, 4]
_QUOTE, _OPEN, _CLOSE, _COMMA = range(1, 5)
_OPENING = re.compile(rb'\s*(\{\s*"[^"\\]*")')
_RAW = msgspec.json.Decoder(list[msgspec.Raw])
_BACKSLASH = ord("\\")


class Cut:
    """Cuts an array into its elements as it is read, many at a time.

    start: where the element begins in what is kept; -1: not begun. at: up to where it was looked at; depth, inside:
    how many brackets are open there, and whether it is within a text. opening: as the first element begins, up to its
    first key. slashes: whether what was looked at ends with an odd number of backslashes.
    """

    def __init__(self, offset: int) -> None:
        self.kept, self.offset, self.at, self.depth, self.start = b"", offset, 0, 0, -1
        self.inside, self.opening, self.slashes = False, b"", 0
        self.number, self.ended, self.expected = 1, False, False

    def feed(self, more: bytes, quick: bool = True) -> Iterator[Block]:
        """The elements that end in what is read now. quick: whether some of them may be left for later."""
        self.kept += more
        if quick and self.depth >= 1 and self.start == 0 and len(self.kept) <= QUICK:
            quickly = self._quick()
            if quickly is not None:
                yield quickly
                return
        made: list[Block] = []
        for mark, place in self._outer():
            self._marked(mark, place, made)
            if self.ended:
                self.at = place + 1
                break
        yield from self._packed(made)
        drop = self.start if self.start >= 0 else self.at
        self.kept, self.offset, self.at = self.kept[drop:], self.offset + drop, self.at - drop
        self.start = 0 if self.start >= 0 else -1

    def _outer(self) -> Iterator[tuple[int, int]]:
        """The marks of what is new that stand between elements, or open and close the array."""
        new = np.frombuffer(self.kept, np.uint8)[self.at :]
        places = np.flatnonzero(_KINDS[new])
        kinds = _KINDS[new[places]]
        quotes = kinds == _QUOTE
        quotes[quotes] = ~self._escaped(new, places[quotes])
        places, self.at = places + self.at, len(self.kept)
        before = np.cumsum(quotes) + self.inside
        self.inside = bool(before[-1] & 1) if len(before) else self.inside
        within = (before & 1).astype(bool) & ~quotes
        steps = np.where(within | quotes, 0, (kinds == _OPEN).astype(np.int64) - (kinds == _CLOSE))
        depths = np.cumsum(steps) + self.depth
        self.depth = int(depths[-1]) if len(depths) else self.depth
        outer = ~within & ~quotes & (depths <= 1)
        outer &= (kinds == _COMMA) | ((kinds == _OPEN) & (depths == 1)) | ((kinds == _CLOSE) & (depths <= 0))
        return zip(kinds[outer].tolist(), places[outer].tolist(), strict=True)

    def _escaped(self, new: Any, places: Any) -> Any:
        """Which of the places come after an odd number of backslashes."""
        if not (self.slashes or _BACKSLASH in self.kept[self.at :]):
            return np.zeros(len(places), bool)
        others = np.flatnonzero(new != _BACKSLASH)  # the last before a place ends the run of backslashes before it
        at = np.searchsorted(others, places) - 1
        if not len(others):
            self.slashes = (self.slashes + len(new)) & 1
            return np.zeros(len(places), bool)
        run = places - 1 - np.where(at < 0, -1 - self.slashes, others[at])
        self.slashes = (len(new) - 1 - int(others[-1])) & 1
        return (run & 1).astype(bool)

    def _marked(self, mark: int, place: int, made: list[Block]) -> None:
        if mark == _OPEN:
            self.start = place + 1
        elif mark == _CLOSE:
            self.ended = True
            self._element(place, made)
        elif self.start >= 0:
            self._element(place, made)
            self.start, self.expected = place + 1, True

    def _element(self, end: int, made: list[Block]) -> None:
        whole = self.kept[self.start : end]
        text = whole.strip()
        lead = len(whole) - len(whole.lstrip()) if whole[:1].isspace() else 0
        if text or self.expected or not self.ended:
            broken = "" if text else "an element is missing between two commas"
            made.append(Block(self.number, self.offset + self.start + lead, text, broken))
            self.number += 1

    def _quick(self) -> Block | None:
        """All elements but those at the end: up to where one begins as the first one did, if that parses so."""
        if not self.opening:
            first = _OPENING.match(self.kept)
            self.opening = first[1] if first else b""
        last = self.kept.rfind(self.opening, 1) if self.opening else -1
        body = self.kept[:last].rstrip() if last > 0 else b""
        if not body.endswith(b","):
            return None
        text = b"[" + body[:-1] + b"]"
        try:
            raw = _RAW.decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        number, offset = self.number, self.offset
        self.number, self.expected = number + len(raw), True
        self.kept, self.offset = self.kept[len(body) :], offset + len(body)
        self.at, self.depth, self.inside, self.slashes = 0, 1, False, 0
        return Block(number, offset, b"", pack=Pack(lambda: _apart(raw, body, number, offset), len(raw), text))

    def _packed(self, made: list[Block]) -> Iterator[Block]:
        if len(made) < 2 or any(one.broken for one in made):
            yield from made
        elif made:
            text = b"[" + b",".join([one.text for one in made]) + b"]"
            yield Block(made[0].number, made[0].offset, b"", pack=Pack(lambda: made, len(made), text))


def _apart(raw: Sequence[Any], body: bytes, number: int, offset: int) -> list[Block]:
    """Each element by itself, with its place in the file."""
    made, at = [], 0
    for i, one in enumerate(raw):
        text = bytes(one).strip()
        at = body.index(text, at)
        made.append(Block(number + i, offset + at, text))
        at += len(text)
    return made


def elements_of(read: Read, rest: bytes, offset: int) -> Iterator[Block]:
    """The elements of an array, in bounded memory; the last block says how it breaks off, if it does."""
    cut, reading = Cut(offset), guarded(read, BLOCK)
    more, broken = rest, ""
    while True:
        yield from cut.feed(more)
        if cut.ended:
            break
        if len(cut.kept) > MAX_LINE:
            why = f"an element of the array is longer than {MAX_LINE >> 20} MiB, and what follows it was not read"
            yield Block(cut.number, cut.offset, b"", why)
            return
        more, broken = next(reading)
        if broken or not more:
            yield from cut.feed(b"", quick=False)
            if cut.ended:
                break
            yield Block(cut.number, cut.offset, b"", broken or "the array ends in the middle of an element")
            return
    after = cut.kept[cut.at :]
    while not after.strip():
        after, broken = next(reading)
        if broken or not after:
            return
    yield Block(cut.number, cut.offset + cut.at, b"", "something follows the array that the file is")
