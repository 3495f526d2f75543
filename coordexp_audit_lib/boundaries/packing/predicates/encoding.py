"""What a sample must be as it is encoded by itself: of its own length, the same whoever stands beside it, with all that
is said in it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

import msgspec

from coordexp_audit_lib.core.claim import Ledger
from coordexp_audit_lib.core.problem import Problem, Undecided
from coordexp_audit_lib.kit import chat, tokenizer

IDS = 12  # that are shown


class Alone(msgspec.Struct, frozen=True):
    """One chat as it was encoded. name: of the chat. turns: (role, text). ids: [n]. length: as the pipeline counts."""

    name: str
    turns: Sequence[tuple[str, str]]
    ids: Sequence[int]
    length: int


class Both(msgspec.Struct, frozen=True):
    """One chat, encoded among other samples twice. labels as ids."""

    name: str
    ids: Sequence[int]
    labels: Sequence[int]
    ids_again: Sequence[int]
    labels_again: Sequence[int]


def _some(ids: Sequence[int]) -> None:
    if not len(ids):
        raise Undecided("nothing of the sample was encoded")


def length_true(one: Alone, ledger: Ledger) -> Iterator[Problem]:
    """The length that packs are planned by is the number of tokens. Counts samples."""
    _some(one.ids)
    ledger.judged()
    if one.length != len(one.ids):
        yield Problem("its length is not the number of its tokens", one.name, len(one.ids), one.length)


def turns_whole(one: Alone, ledger: Ledger) -> Iterator[Problem]:
    """The text of each turn stands in the tokens, in the order of the turns. Counts turns."""
    text, at = tokenizer.text_of(one.ids), 0
    for number, (role, said) in enumerate(one.turns):
        ledger.judged()
        pieces = unicodedata.normalize("NFC", said).split(chat.SLOT)
        for piece in filter(None, (p.strip() for p in pieces)):
            found = text.find(piece, at)
            if found < 0:
                where = "stands before the turn it follows" if piece in text else "is not in the tokens"
                what = f"the text of turn {number} ({role}) {where}"
                yield Problem(what, one.name, "in its place", where, {"turn": number, "text": piece[:80]})
                return
            at = found + len(piece)


def encoded_alike(one: Both, ledger: Ledger) -> Iterator[Problem]:
    """Tokens and labels of a sample do not hang on what is encoded beside it. Counts samples."""
    _some(one.ids)
    ledger.judged()
    for what, before, now in (("tokens", one.ids, one.ids_again), ("labels", one.labels, one.labels_again)):
        if list(before) != list(now):
            pairs = enumerate(zip(before, now, strict=False))
            at = next((i for i, (a, b) in pairs if a != b), min(len(before), len(now)))
            text = f"its {what} differ with what is encoded beside it"
            yield Problem(text, one.name, list(before[at : at + IDS]), list(now[at : at + IDS]), token=at)
            return
